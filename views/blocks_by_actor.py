"""Whom an account blocks, found by whom; the first row of a subject is the block that counts.

The other way of a pair, in the same account's partition, is `blocked_by`.
"""

from __future__ import annotations

from collections.abc import Sequence

from views.record import BLOCK, Record
from views.table import Row, Table, integer, text
from views.view import BLOCKED, View

TABLE = Table(
    "blocks_by_actor",
    "records",
    partition=(text("actor", "who blocks"),),
    clustering=(text("subject", "DID blocked"), text("rkey", "of the block")),
    columns=(text("uri", "of the block"), integer("sort_at", "unix microseconds: min(createdAt, first_time)")),
)


def _rows(record: Record) -> Sequence[Row]:
    return ((record.did, record.value["subject"], record.rkey, record.uri, record.sort_at),)


VIEW = View(TABLE, rows={BLOCK: _rows}, first=BLOCKED)
