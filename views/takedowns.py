"""Records that moderation took down: hidden at read, counts and edges stay."""

from __future__ import annotations

from views.table import Table, integer, text

TABLE = Table(
    "takedowns",
    "records",
    partition=(text("uri", "the record"),),
    columns=(integer("offset", "of the entry in `records`"),),
)
