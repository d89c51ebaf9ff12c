"""Who liked, reposted or quoted a record: one kind of its `interactions`, newest first."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from api.appview import people
from api.appview.loader import Loader
from api.appview.reader import AppViewReader
from views import interactions
from views.record import authority
from views.table import Key, Row

ACTOR, URI, CREATED_AT, INDEXED_AT = (
    interactions.TABLE.index(name) for name in ("actor", "uri", "created_at", "indexed_at")
)
_SORT_AT = interactions.TABLE.index("sort_at")


class Reactions(NamedTuple):
    subject: str
    by: str
    """Whose record the subject is."""
    rows: list[Row]
    following: Key | None


async def skeleton(reader: AppViewReader, uri: str, kind: int, after: Key | None, limit: int) -> Reactions:
    subject = await reader.resolve_uri(uri)
    rows = await reader.store.slice(interactions.TABLE, (subject, kind), after=after, limit=limit)
    following = rows[-1][_SORT_AT : URI + 1] if len(rows) == limit else None
    return Reactions(subject, authority(subject), rows, following)


async def hydrate(loaded: Loader, found: Reactions) -> None:
    await people.hydrate(
        loaded, [row[ACTOR] for row in found.rows], found.by, [found.subject, *(row[URI] for row in found.rows)]
    )


def rules(loaded: Loader, found: Reactions) -> list[Row]:
    return [
        row
        for row in found.rows
        if loaded.taken[row[URI]] is None and people.may_be_listed(loaded, row[ACTOR], found.by)
    ]


def echoed(params: dict[str, Any]) -> bytes:
    """The members that repeat what was asked for."""
    return orjson.dumps({name: params[name] for name in ("uri", "cid") if name in params})[1:-1]
