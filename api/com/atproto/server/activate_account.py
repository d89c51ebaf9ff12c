"""com.atproto.server.activateAccount: the account is shown again, or for the first time here after it moved."""

from __future__ import annotations

from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    await ctx.services.pds.activate_account(ctx.account)
    return None


ENDPOINT = Endpoint("com.atproto.server.activateAccount", handle, Auth.FULL)
