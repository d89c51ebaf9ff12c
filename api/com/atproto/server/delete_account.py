"""com.atproto.server.deleteAccount: everything of the account goes, by its password and a mailed token."""

from __future__ import annotations

from api.xrpc import Answer, Ctx, Endpoint
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    body = ctx.input
    await ctx.services.pds.delete_account(Did(body["did"]), body["password"], body["token"])
    return None


ENDPOINT = Endpoint("com.atproto.server.deleteAccount", handle)
