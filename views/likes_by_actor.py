"""What an account liked: a viewer's state, and which of duplicate records counts (the first row of a subject)."""

from __future__ import annotations

from views.table import Table, integer, text

BUCKETS = 8

TABLE = Table(
    "likes_by_actor",
    "records",
    partition=(text("actor", "who liked"), integer("bucket", "`bucket(subject)`")),
    clustering=(text("subject", "URI of what was liked"), text("rkey", "of the record")),
    columns=(
        integer("sort_at", "unix microseconds: min(createdAt, first_time)"),
        integer("created_at", "createdAt as the record says, microseconds"),
        integer("indexed_at", "first_time, microseconds"),
        text("cid", "of the record"),
    ),
)
