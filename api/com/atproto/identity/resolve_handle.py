"""com.atproto.identity.resolveHandle: from a handle to its DID."""

from __future__ import annotations

from api.xrpc import Answer, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    return {"did": await ctx.services.pds.resolve_handle(ctx.params["handle"])}


ENDPOINT = Endpoint("com.atproto.identity.resolveHandle", handle)
