"""Records that moderation took down: hidden at read, counts and edges stay."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.entries import TakedownEntry
from views.table import Row, Table, integer, text
from views.view import TAKEDOWN, View

TABLE = Table(
    "takedowns",
    "records",
    partition=(text("uri", "the record"),),
    columns=(integer("offset", "of the entry in `records`"),),
)


def _rows(entry: TakedownEntry) -> Sequence[Row]:
    return ((entry.uri, entry.offset),)


VIEW = View(TABLE, rows={TAKEDOWN: _rows})
