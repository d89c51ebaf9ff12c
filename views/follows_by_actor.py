"""Whom an account follows, found by whom; the first row of a subject is the follow that counts."""

from __future__ import annotations

from views.table import APPLIED, Table, integer, text

TABLE = Table(
    "follows_by_actor",
    "records",
    partition=(text("actor", "who follows"),),
    clustering=(text("subject", "DID followed"), text("rkey", "of the follow")),
    columns=(
        integer("sort_at", "unix microseconds: min(createdAt, first_time)"),
        integer("indexed_at", "first_time, microseconds"),
    ),
    statics=(integer("follows_count", "distinct subjects"), APPLIED),
)
