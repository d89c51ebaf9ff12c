"""The rev an account has reached in the views: what `Atproto-Repo-Rev` says.

Beside `actors` and not in it, so that a commit does not rewrite a profile.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.entries import HeadEntry
from views.table import Row, Table, integer, text
from views.view import HEAD, View

TABLE = Table(
    "heads",
    "records",
    partition=(text("did", "account"),),
    columns=(text("rev", "TID of the newest commit seen"), integer("offset", "of its entry in `records`")),
)


def _rows(head: HeadEntry) -> Sequence[Row]:
    return ((head.did, str(head.rev), head.offset),)


VIEW = View(TABLE, rows={HEAD: _rows})
