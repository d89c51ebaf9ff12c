"""com.atproto.server.deleteSession: log out; the refresh token and its kin are revoked."""

from __future__ import annotations

from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    assert ctx.auth is not None, "the auth mode demands a refresh token"
    await ctx.services.pds.delete_session(ctx.auth.jti)
    return None


ENDPOINT = Endpoint("com.atproto.server.deleteSession", handle, Auth.REFRESH_EXPIRED)
