"""com.atproto.server.refreshSession: new tokens for a refresh token, which is then used up."""

from __future__ import annotations

from api.com.atproto.server.shared import tokens, whole
from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    assert ctx.auth is not None, "the auth mode demands a refresh token"
    session = await ctx.services.pds.refresh_session(ctx.account, ctx.auth.jti)
    return {**tokens(session), **whole(session)}


ENDPOINT = Endpoint("com.atproto.server.refreshSession", handle, Auth.REFRESH)
