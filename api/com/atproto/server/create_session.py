"""com.atproto.server.createSession: log in by handle, DID or email."""

from __future__ import annotations

from api.com.atproto.server.shared import tokens, whole
from api.xrpc import Answer, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    body = ctx.input
    session = await ctx.services.pds.create_session(
        body["identifier"], body["password"], allow_takendown=body.get("allowTakendown", False)
    )
    return {**tokens(session), **whole(session)}


ENDPOINT = Endpoint("com.atproto.server.createSession", handle)
