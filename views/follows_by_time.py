"""Whom an account follows, newest first: one row a subject."""

from __future__ import annotations

from collections.abc import Sequence

from views.record import FOLLOW
from views.table import Row, Table, newest_first, text
from views.view import FOLLOWED, View

TABLE = Table(
    "follows_by_time",
    "records",
    partition=(text("actor", "who follows"),),
    clustering=(newest_first(), text("subject", "DID followed")),
    columns=(text("uri", "of the follow that counts"),),
)


def _rows(follow: Row) -> Sequence[Row]:
    actor, subject, rkey, sort_at, _ = follow
    return ((actor, sort_at, subject, f"at://{actor}/{FOLLOW}/{rkey}"),)


VIEW = View(TABLE, rows={FOLLOWED: _rows})
