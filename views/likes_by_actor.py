"""What an account liked: a viewer's state, and which of duplicate records counts (the first row of a subject)."""

from __future__ import annotations

from collections.abc import Sequence

from views.bucket import bucket
from views.record import LIKE, Record
from views.table import Key, Row, Table, integer, text
from views.view import LIKED, View

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


def key(actor: str, subject: str) -> Key:
    """What `get_many` finds the one that counts by."""
    return (actor, bucket(subject, BUCKETS), subject)


def _rows(record: Record) -> Sequence[Row]:
    subject = record.value["subject"]["uri"]
    times = (record.sort_at, record.created_at, record.first_time)
    return ((record.did, bucket(subject, BUCKETS), subject, record.rkey, *times, record.cid),)


VIEW = View(TABLE, rows={LIKE: _rows}, first=LIKED)
