"""Who blocks an account: what a page asks for all that it shows in one partition, the reader's."""

from __future__ import annotations

from collections.abc import Sequence

from views.table import Row, Table, text
from views.view import BLOCKED, View

TABLE = Table(
    "blocked_by",
    "edges",
    partition=(text("did", "who is blocked"),),
    clustering=(text("actor", "who blocks"),),
    columns=(text("uri", "of the block that counts"),),
)


def _rows(block: Row) -> Sequence[Row]:
    actor, subject, _, uri, _ = block
    return ((subject, actor, uri),)


VIEW = View(TABLE, rows={BLOCKED: _rows})
