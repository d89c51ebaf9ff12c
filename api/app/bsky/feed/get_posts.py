"""app.bsky.feed.getPosts: some posts; who is not there, or blocked, is left out."""

from __future__ import annotations

from api.appview.loader import Loader
from api.appview.pins import own_pin
from api.appview.present_post import Posts
from api.appview.reader import AppViewReader
from api.appview.rules import viewer_blocks, visible_post
from api.xrpc import Auth, Ctx, Endpoint
from views.record import authority
from views.table import Row


async def skeleton(reader: AppViewReader, uris: list[str]) -> list[str]:
    return list(dict.fromkeys([await reader.resolve_uri(uri) for uri in dict.fromkeys(uris)]))


async def hydrate(loaded: Loader, uris: list[str]) -> None:
    await loaded.load_posts(uris)


def rules(loaded: Loader, uris: list[str]) -> list[tuple[str, Row]]:
    rows = [(uri, visible_post(loaded, uri)) for uri in uris]
    return [(uri, row) for uri, row in rows if row is not None and not viewer_blocks(loaded, authority(uri))]


def present(loaded: Loader, rows: list[tuple[str, Row]]) -> bytes:
    posts = Posts(loaded, own_pin(loaded))
    return b'{"posts":[%b]}' % b",".join([posts.post(uri, row) for uri, row in rows])


async def handle(ctx: Ctx) -> bytes:
    reader = ctx.services.appview
    loaded = reader.loader(ctx.viewer)
    uris = await skeleton(reader, ctx.params["uris"])
    await hydrate(loaded, uris)
    return reader.send(present(loaded, rules(loaded, uris)))


ENDPOINT = Endpoint("app.bsky.feed.getPosts", handle, Auth.OPTIONAL)
