"""Whom an account blocks, newest first: what getBlocks lists, one row a subject."""

from __future__ import annotations

from views.table import Table, newest_first, text

TABLE = Table(
    "blocks_by_time",
    "records",
    partition=(text("actor", "who blocks"),),
    clustering=(newest_first(), text("subject", "DID blocked")),
    columns=(text("uri", "of the block that counts"),),
)
