"""app.bsky.feed.getLikes: who liked a record, newest first.

`cid` is echoed; a like counts for a record whatever its version, as in its count.
"""

from __future__ import annotations

from api.appview import people, present_actor
from api.appview.cursor import read_cursor, write_cursor
from api.appview.loader import Loader
from api.appview.reactions import ACTOR, CREATED_AT, INDEXED_AT, echoed, hydrate, rules, skeleton
from api.xrpc import Auth, Ctx, Endpoint
from schemas.datetimes import from_micros
from views import interactions
from views.table import Row


def present(loaded: Loader, asked: bytes, rows: list[Row], cursor: str | None) -> bytes:
    likes = [
        b'{"actor":%b,"createdAt":"%b","indexedAt":"%b"}'
        % (
            present_actor.profile(loaded, row[ACTOR]),
            from_micros(row[CREATED_AT]).encode(),
            from_micros(row[INDEXED_AT]).encode(),
        )
        for row in rows
    ]
    return people.page(cursor, b'%b,"likes":[%b]' % (asked, b",".join(likes)))


async def handle(ctx: Ctx) -> bytes:
    reader, params = ctx.services.appview, ctx.params
    loaded = reader.loader(ctx.viewer)
    found = await skeleton(
        reader, params["uri"], interactions.LIKE, read_cursor(params, int, str, str), params["limit"]
    )
    await hydrate(loaded, found)
    cursor = None if found.following is None else write_cursor(found.following)
    return reader.send(present(loaded, echoed(params), rules(loaded, found), cursor))


ENDPOINT = Endpoint("app.bsky.feed.getLikes", handle, Auth.OPTIONAL)
