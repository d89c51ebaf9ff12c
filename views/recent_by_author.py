"""An author's newest posts and reposts, and whether each was pushed to timelines or is pulled by readers.

Holds the K newest and every pull row. Written by the consumer that writes `followers`, so that each (follow, post)
pair has one order.
"""

from __future__ import annotations

from views.table import APPLIED, Table, integer, newest_first, text

PUSH = 0
PULL = 1  # above PUSH: at equal versions the larger value wins, and pull must

TABLE = Table(
    "recent_by_author",
    "edges",
    partition=(text("did", "author or reposter"),),
    clustering=(newest_first(), text("uri", "the post"), text("reposter", "the reposter's DID; empty for an own post")),
    columns=(integer("mode", "PUSH or PULL"),),
    statics=(
        integer("trimmed_below", "highest sort_at of a push row ever trimmed; kept on delete"),
        integer("pulls", "pull rows"),
        APPLIED,
    ),
)
