"""app.bsky.feed.getQuotes: the posts that quote a post, newest first. `cid` is echoed, as in getLikes."""

from __future__ import annotations

from api.appview import people
from api.appview.cursor import read_cursor, write_cursor
from api.appview.loader import Loader
from api.appview.pins import own_pin
from api.appview.present_post import Posts
from api.appview.reactions import URI, Reactions, echoed, skeleton
from api.appview.rules import others_block, viewer_blocks, visible_post
from api.xrpc import Auth, Ctx, Endpoint
from views import interactions
from views.table import Row


async def hydrate(loaded: Loader, found: Reactions) -> None:
    await loaded.load_posts(
        [row[URI] for row in found.rows], pairs=[(found.by, loaded.authors[row[URI]]) for row in found.rows]
    )


def rules(loaded: Loader, found: Reactions) -> list[tuple[str, Row]]:
    kept = []
    for each in found.rows:
        uri = each[URI]
        author = loaded.authors[uri]
        row = visible_post(loaded, uri)
        if row is not None and not viewer_blocks(loaded, author) and not others_block(loaded, author, found.by):
            kept.append((uri, row))
    return kept


def present(loaded: Loader, asked: bytes, rows: list[tuple[str, Row]], cursor: str | None) -> bytes:
    posts = Posts(loaded, own_pin(loaded))
    listed = b",".join([posts.post(uri, row) for uri, row in rows])
    return people.page(cursor, b'%b,"posts":[%b]' % (asked, listed))


async def handle(ctx: Ctx) -> bytes:
    reader, params = ctx.services.appview, ctx.params
    loaded = reader.loader(ctx.viewer)
    after = read_cursor(params, int, str, str)
    found = await skeleton(reader, params["uri"], interactions.QUOTE, after, params["limit"])
    await hydrate(loaded, found)
    cursor = None if found.following is None else write_cursor(found.following)
    return reader.send(present(loaded, echoed(params), rules(loaded, found), cursor))


ENDPOINT = Endpoint("app.bsky.feed.getQuotes", handle, Auth.OPTIONAL)
