"""app.bsky.graph.unmuteThread: no longer mute a thread."""

from __future__ import annotations

from api.appview import operating
from api.xrpc import Auth, Ctx, Endpoint
from schemas.operations import THREAD_MUTE


async def handle(ctx: Ctx) -> None:
    root = await ctx.services.appview.resolve_uri(ctx.input["root"])
    await operating.put(ctx, THREAD_MUTE, root, None)


ENDPOINT = Endpoint("app.bsky.graph.unmuteThread", handle, Auth.ACCESS_OR_SERVICE)
