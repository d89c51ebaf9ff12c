"""The replies below a root, whole; a reader bounds what it takes."""

from __future__ import annotations

from collections.abc import Sequence

from views.record import POST, Record
from views.table import Row, Table, newest_first, text
from views.view import View

TABLE = Table(
    "thread",
    "edges",
    partition=(text("root", "URI, as the replies say"),),
    clustering=(text("uri", "of a reply"),),
    columns=(text("parent", "URI of what it answers"), newest_first()),
)


def _rows(post: Record) -> Sequence[Row]:
    reply = post.value.get("reply")
    if reply is None:
        return ()
    return ((reply["root"]["uri"], post.uri, reply["parent"]["uri"], post.sort_at),)


VIEW = View(TABLE, rows={POST: _rows})
