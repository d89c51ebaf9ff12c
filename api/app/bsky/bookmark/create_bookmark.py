"""app.bsky.bookmark.createBookmark: keep a post; again is once, with the CID and the time of the last."""

from __future__ import annotations

from api.appview import operating
from api.xrpc import Auth, Ctx, Endpoint
from schemas.operations import BOOKMARK


async def handle(ctx: Ctx) -> None:
    uri = await operating.post_uri(ctx, ctx.input["uri"])
    await operating.put(ctx, BOOKMARK, uri, ctx.input["cid"].encode())


ENDPOINT = Endpoint("app.bsky.bookmark.createBookmark", handle, Auth.ACCESS_OR_SERVICE)
