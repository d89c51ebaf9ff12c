"""Who claims a handle: the reader takes the newest verification, then the smallest DID."""

from __future__ import annotations

from views.table import Table, integer, text

TABLE = Table(
    "handles",
    "edges",
    partition=(text("handle", "lower case"),),
    clustering=(text("did", "an account that verified it"),),
    columns=(integer("verified_at", "log time, microseconds"),),
)
