"""Who blocks an account."""

from __future__ import annotations

from views.table import Table, text

TABLE = Table(
    "blocked_by",
    "edges",
    partition=(text("did", "who is blocked"),),
    clustering=(text("actor", "who blocks"),),
    columns=(text("uri", "of the block that counts"),),
)
