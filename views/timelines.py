"""Pointers to what the accounts a reader follows posted: a superset, filtered at read (`views.timeline_read`)."""

from __future__ import annotations

from views.table import APPLIED, Table, integer, newest_first, text
from views.view import View

TABLE = Table(
    "timelines",
    "fanout",
    partition=(text("did", "the reader"),),
    clustering=(newest_first(), text("uri", "the post"), text("reposter", "the reposter's DID; empty for an own post")),
    columns=(text("author", "DID that the reader followed when the row came: the reposter, else the post's author"),),
    statics=(
        integer("complete_since", "rows at or below this sort_at may be missing: read author feeds there"),
        APPLIED,
    ),
)

VIEW = View(TABLE)
