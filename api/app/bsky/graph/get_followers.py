"""app.bsky.graph.getFollowers: who follows an account, newest first."""

from __future__ import annotations

from api.appview import people
from api.appview.cursor import read_cursor, write_cursor
from api.appview.loader import Loader
from api.appview.reader import AppViewReader, actor_not_found
from api.appview.rules import is_active
from api.xrpc import Auth, Ctx, Endpoint
from views import followers
from views.table import Key, Row


async def skeleton(
    reader: AppViewReader, loaded: Loader, actor: str, after: Key | None, limit: int
) -> tuple[str, list[Row]]:
    did, row = await reader.account(actor, actor_not_found(actor))
    if not is_active(row):
        raise actor_not_found(actor)
    loaded.actors[did] = row
    return did, await followers.page(reader.store, did, after, limit)


async def hydrate(loaded: Loader, did: str, rows: list[Row]) -> None:
    await people.hydrate(loaded, [row[3] for row in rows], did, [row[4] for row in rows])


def rules(loaded: Loader, did: str, rows: list[Row]) -> list[str]:
    return [row[3] for row in rows if loaded.taken[row[4]] is None and people.may_be_listed(loaded, row[3], did)]


def present(loaded: Loader, did: str, actors: list[str], cursor: str | None) -> bytes:
    subject, listed = people.present(loaded, (did,)), people.present(loaded, actors)
    return people.page(cursor, b'"subject":%b,"followers":[%b]' % (subject, listed))


async def handle(ctx: Ctx) -> bytes:
    reader, params = ctx.services.appview, ctx.params
    loaded = reader.loader(ctx.viewer)
    limit = params["limit"]
    did, rows = await skeleton(reader, loaded, params["actor"], read_cursor(params, int, str), limit)
    await hydrate(loaded, did, rows)
    cursor = write_cursor(rows[-1][2:4]) if len(rows) == limit else None
    return reader.send(present(loaded, did, rules(loaded, did, rows), cursor))


ENDPOINT = Endpoint("app.bsky.graph.getFollowers", handle, Auth.OPTIONAL)
