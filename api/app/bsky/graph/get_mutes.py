"""app.bsky.graph.getMutes: whom the caller mutes altogether, newest first."""

from __future__ import annotations

from api.appview import people
from api.appview.cursor import read_cursor, write_cursor
from api.appview.loader import Loader
from api.appview.reader import AppViewReader
from api.appview.rules import account_shows
from api.xrpc import Auth, Ctx, Endpoint
from views import mutes_by_time
from views.table import Key, Row


async def skeleton(reader: AppViewReader, viewer: str, after: Key | None, limit: int) -> list[Row]:
    return await reader.store.slice(mutes_by_time.TABLE, (viewer,), after=after, limit=limit)


async def hydrate(loaded: Loader, rows: list[Row]) -> None:
    await people.hydrate(loaded, [row[2] for row in rows])


def rules(loaded: Loader, rows: list[Row]) -> list[str]:
    """A block hides nobody here: who is muted may be unmuted."""
    return [row[2] for row in rows if loaded.actors[row[2]] is not None and account_shows(loaded, row[2])]


def present(loaded: Loader, subjects: list[str], cursor: str | None) -> bytes:
    return people.page(cursor, b'"mutes":[%b]' % people.present(loaded, subjects))


async def handle(ctx: Ctx) -> bytes:
    reader, params = ctx.services.appview, ctx.params
    loaded = reader.loader(ctx.account)
    limit = params["limit"]
    rows = await skeleton(reader, ctx.account, read_cursor(params, int, str), limit)
    await hydrate(loaded, rows)
    cursor = write_cursor(rows[-1][1:3]) if len(rows) == limit else None
    return reader.send(present(loaded, rules(loaded, rows), cursor))


ENDPOINT = Endpoint("app.bsky.graph.getMutes", handle, Auth.ACCESS_OR_SERVICE)
