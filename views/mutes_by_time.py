"""Whom an account mutes altogether, newest first: what getMutes lists. Does not own mutes of a part (`operations`)."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.operations import MUTE, Operation
from views.table import Row, Table, newest_first, text
from views.view import View

TABLE = Table(
    "mutes_by_time",
    "operations",
    partition=(text("actor", "who mutes"),),
    clustering=(newest_first("log time of the mute, unix microseconds"), text("subject", "DID muted")),
)


def _rows(mute: Operation) -> Sequence[Row]:
    return () if mute.value != b"\x00" else ((mute.did, mute.time, mute.subject),)


VIEW = View(TABLE, rows={MUTE: _rows})
