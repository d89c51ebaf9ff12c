"""app.bsky.graph.muteThread: the caller is to be told no more of a thread; its posts say so to the caller."""

from __future__ import annotations

from api.appview import operating
from api.xrpc import Auth, Ctx, Endpoint
from schemas.operations import THREAD_MUTE


async def handle(ctx: Ctx) -> None:
    root = await ctx.services.appview.resolve_uri(ctx.input["root"])
    await operating.put(ctx, THREAD_MUTE, root, b"")


ENDPOINT = Endpoint("app.bsky.graph.muteThread", handle, Auth.ACCESS_OR_SERVICE)
