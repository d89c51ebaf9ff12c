"""app.bsky.graph.getBlocks: whom the caller blocks, newest first."""

from __future__ import annotations

from api.appview import people
from api.appview.cursor import read_cursor, write_cursor
from api.appview.loader import Loader
from api.appview.reader import AppViewReader
from api.appview.rules import account_shows
from api.xrpc import Auth, Ctx, Endpoint
from views import blocks_by_time
from views.table import Key, Row


async def skeleton(reader: AppViewReader, viewer: str, after: Key | None, limit: int) -> list[Row]:
    return await reader.store.slice(blocks_by_time.TABLE, (viewer,), after=after, limit=limit)


async def hydrate(loaded: Loader, rows: list[Row]) -> None:
    await people.hydrate(loaded, [row[2] for row in rows])


def rules(loaded: Loader, rows: list[Row]) -> list[str]:
    """A list of one's own blocks is the one place where they do not hide."""
    return [row[2] for row in rows if loaded.actors[row[2]] is not None and account_shows(loaded, row[2])]


def present(loaded: Loader, subjects: list[str], cursor: str | None) -> bytes:
    return people.page(cursor, b'"blocks":[%b]' % people.present(loaded, subjects))


async def handle(ctx: Ctx) -> bytes:
    reader, params = ctx.services.appview, ctx.params
    loaded = reader.loader(ctx.account)
    limit = params["limit"]
    rows = await skeleton(reader, ctx.account, read_cursor(params, int, str), limit)
    await hydrate(loaded, rows)
    cursor = write_cursor(rows[-1][1:3]) if len(rows) == limit else None
    return reader.send(present(loaded, rules(loaded, rows), cursor))


ENDPOINT = Endpoint("app.bsky.graph.getBlocks", handle, Auth.ACCESS_OR_SERVICE)
