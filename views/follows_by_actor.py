"""Whom an account follows, found by whom; the first row of a subject is the follow that counts."""

from __future__ import annotations

from collections.abc import Sequence

from views.record import FOLLOW, Record
from views.table import APPLIED, Key, Row, Table, integer, text
from views.view import FOLLOWED, Tally, View

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


def uri(row: Row) -> str:
    """Of the follow record that a row is."""
    return f"at://{row[0]}/{FOLLOW}/{row[2]}"


def _rows(record: Record) -> Sequence[Row]:
    return ((record.did, record.value["subject"], record.rkey, record.sort_at, record.first_time),)


def _tally(follow: Row) -> Sequence[tuple[Key, int]]:
    return (((follow[0],), 0),)


_TALLIES: dict[str, Tally] = {FOLLOWED: _tally}
VIEW = View(TABLE, rows={FOLLOW: _rows}, tallies=_TALLIES, first=FOLLOWED)
