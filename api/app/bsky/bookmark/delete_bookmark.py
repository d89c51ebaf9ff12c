"""app.bsky.bookmark.deleteBookmark: keep a post no more."""

from __future__ import annotations

from api.appview import operating
from api.xrpc import Auth, Ctx, Endpoint
from schemas.operations import BOOKMARK


async def handle(ctx: Ctx) -> None:
    await operating.put(ctx, BOOKMARK, await operating.post_uri(ctx, ctx.input["uri"]), None)


ENDPOINT = Endpoint("app.bsky.bookmark.deleteBookmark", handle, Auth.ACCESS_OR_SERVICE)
