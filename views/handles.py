"""Who claims a handle: the reader takes the newest verification, then the smallest DID."""

from __future__ import annotations

from collections.abc import Sequence

from views.actors import TABLE as ACTORS
from views.table import Row, Table, integer, text
from views.view import ACTOR, View

TABLE = Table(
    "handles",
    "edges",
    partition=(text("handle", "lower case"),),
    clustering=(text("did", "an account that verified it"),),
    columns=(integer("verified_at", "log time, microseconds"),),
)


def _rows(actor: Row) -> Sequence[Row]:
    handle = actor[_HANDLE]
    return ((handle, actor[0], actor[_VERIFIED_AT]),) if handle is not None and actor[_STATUS] != "deleted" else ()


_HANDLE, _STATUS, _VERIFIED_AT = (ACTORS.index(name) for name in ("handle", "status", "verified_at"))
VIEW = View(TABLE, rows={ACTOR: _rows})
