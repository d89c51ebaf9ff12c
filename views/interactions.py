"""Who liked, reposted, answered and quoted a record, with the counts: all in the subject's partition.

An actor's like or repost counts once: the one with the smallest rkey. Replies and quotes each count.
"""

from __future__ import annotations

from views.table import APPLIED, Table, integer, newest_first, text

LIKE = 0
REPOST = 1
REPLY = 2
QUOTE = 3

TABLE = Table(
    "interactions",
    "edges",
    partition=(text("subject", "URI of a record of any collection"),),
    clustering=(
        integer("kind", "LIKE, REPOST, REPLY or QUOTE"),
        newest_first(),
        text("actor", "whose it is"),
        text("uri", "of the like, repost, reply or quoting post"),
    ),
    columns=(
        integer("created_at", "createdAt as the record says, microseconds"),
        integer("indexed_at", "first_time, microseconds"),
        text("cid", "of that record"),
    ),
    statics=(
        integer("likes", "rows of kind LIKE"),
        integer("reposts", "rows of kind REPOST"),
        integer("replies", "rows of kind REPLY"),
        integer("quotes", "rows of kind QUOTE"),
        APPLIED,
    ),
)
