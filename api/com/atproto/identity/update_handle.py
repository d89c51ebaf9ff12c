"""com.atproto.identity.updateHandle: another handle, in the DID document and everywhere."""

from __future__ import annotations

from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    await ctx.services.pds.update_handle(ctx.account, ctx.input["handle"])
    return None


ENDPOINT = Endpoint("com.atproto.identity.updateHandle", handle, Auth.FULL)
