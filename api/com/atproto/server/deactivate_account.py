"""com.atproto.server.deactivateAccount: the account is hidden until it is activated."""

from __future__ import annotations

from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    await ctx.services.pds.deactivate_account(ctx.account)
    return None


ENDPOINT = Endpoint("com.atproto.server.deactivateAccount", handle, Auth.FULL)
