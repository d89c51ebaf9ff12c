"""com.atproto.server.getSession: whose session this is."""

from __future__ import annotations

from api.com.atproto.server.shared import whole
from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    return whole(await ctx.services.pds.get_session(ctx.account))


ENDPOINT = Endpoint("com.atproto.server.getSession", handle, Auth.TAKENDOWN)
