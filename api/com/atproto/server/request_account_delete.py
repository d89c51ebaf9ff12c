"""com.atproto.server.requestAccountDelete: mail the token that deleteAccount asks for."""

from __future__ import annotations

from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    await ctx.services.pds.request_account_delete(ctx.account)
    return None


ENDPOINT = Endpoint("com.atproto.server.requestAccountDelete", handle, Auth.FULL)
