"""Whom an account blocks, newest first: what getBlocks lists, one row a subject."""

from __future__ import annotations

from collections.abc import Sequence

from views.table import Row, Table, newest_first, text
from views.view import BLOCKED, View

TABLE = Table(
    "blocks_by_time",
    "records",
    partition=(text("actor", "who blocks"),),
    clustering=(newest_first(), text("subject", "DID blocked")),
    columns=(text("uri", "of the block that counts"),),
)


def _rows(block: Row) -> Sequence[Row]:
    actor, subject, _, uri, sort_at = block
    return ((actor, sort_at, subject, uri),)


VIEW = View(TABLE, rows={BLOCKED: _rows})
