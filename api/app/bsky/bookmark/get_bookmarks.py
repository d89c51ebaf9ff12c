"""app.bsky.bookmark.getBookmarks: the posts that the caller keeps, newest bookmark first."""

from __future__ import annotations

from api.appview import rules
from api.appview.cursor import read_cursor, write_cursor
from api.appview.loader import Loader
from api.appview.people import page
from api.appview.pins import own_pin
from api.appview.present_post import Posts, blocked_post, not_found_post
from api.appview.reader import AppViewReader
from api.xrpc import Auth, Ctx, Endpoint
from schemas.datetimes import from_micros
from views import bookmarks_by_time
from views.table import Key, Row


async def skeleton(reader: AppViewReader, viewer: str, after: Key | None, limit: int) -> list[Row]:
    return await reader.store.slice(bookmarks_by_time.TABLE, (viewer,), after=after, limit=limit)


async def hydrate(loaded: Loader, viewer: str, rows: list[Row]) -> None:
    await loaded.load_posts([row[2] for row in rows], accounts=(viewer,))


def present(loaded: Loader, rows: list[Row], cursor: str | None) -> bytes:
    """What is gone or hidden from the caller says so in its place."""
    posts = Posts(loaded, own_pin(loaded))
    return page(cursor, b'"bookmarks":[%b]' % b",".join([_bookmark(loaded, posts, row) for row in rows]))


def _bookmark(loaded: Loader, posts: Posts, row: Row) -> bytes:
    _, time, uri, cid = row
    return b'{"subject":{"uri":"%b","cid":"%b"},"createdAt":"%b","item":%b}' % (
        uri.encode(),
        cid.encode(),
        from_micros(time).encode(),
        _item(loaded, posts, uri),
    )


def _item(loaded: Loader, posts: Posts, uri: str) -> bytes:
    row = rules.visible_post(loaded, uri)
    if row is None:
        return not_found_post(uri)
    if rules.viewer_blocks(loaded, loaded.authors[uri]):
        return blocked_post(loaded, uri)
    return posts.typed(uri, row)


async def handle(ctx: Ctx) -> bytes:
    reader, params = ctx.services.appview, ctx.params
    loaded = reader.loader(ctx.account)
    limit = params["limit"]
    rows = await skeleton(reader, ctx.account, read_cursor(params, int, str), limit)
    await hydrate(loaded, ctx.account, rows)
    cursor = write_cursor(rows[-1][1:3]) if len(rows) == limit else None
    return reader.send(present(loaded, rows, cursor))


ENDPOINT = Endpoint("app.bsky.bookmark.getBookmarks", handle, Auth.ACCESS_OR_SERVICE)
