"""Whom an account follows, newest first: one row a subject."""

from __future__ import annotations

from views.table import Table, newest_first, text

TABLE = Table(
    "follows_by_time",
    "records",
    partition=(text("actor", "who follows"),),
    clustering=(newest_first(), text("subject", "DID followed")),
    columns=(text("uri", "of the follow that counts"),),
)
