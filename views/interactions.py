"""Who liked, reposted, answered and quoted a record, with the counts: all in the subject's partition.

An actor's like or repost counts once: the one with the smallest rkey. Replies and quotes each count.
"""

from __future__ import annotations

from collections.abc import Sequence

from views.post_view import quoted
from views.record import LIKE as LIKE_NSID
from views.record import POST, Record
from views.record import REPOST as REPOST_NSID
from views.table import APPLIED, Key, Row, Table, integer, newest_first, text
from views.view import LIKED, REPOSTED, View

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


def _liked(like: Row) -> Sequence[Row]:
    actor, _, subject, rkey, sort_at, created_at, indexed_at, cid = like
    return ((subject, LIKE, sort_at, actor, f"at://{actor}/{LIKE_NSID}/{rkey}", created_at, indexed_at, cid),)


def _reposted(repost: Row) -> Sequence[Row]:
    actor, _, subject, rkey, sort_at, created_at, indexed_at, cid = repost
    return ((subject, REPOST, sort_at, actor, f"at://{actor}/{REPOST_NSID}/{rkey}", created_at, indexed_at, cid),)


def _post(post: Record) -> Sequence[Row]:
    tail = (post.sort_at, post.did, post.uri, post.created_at, post.first_time, post.cid)
    reply, quote = post.value.get("reply"), quoted(post.value)
    if reply is None and quote is None:
        return ()
    rows = []
    if reply is not None:
        rows.append((reply["parent"]["uri"], REPLY, *tail))
    if quote is not None:
        rows.append((quote, QUOTE, *tail))
    return rows


def _tally_post(post: Record) -> Sequence[tuple[Key, int]]:
    return [((row[0],), row[1]) for row in _post(post)]


# The statics stand in the order of the kinds.
VIEW = View(
    TABLE,
    rows={LIKED: _liked, REPOSTED: _reposted, POST: _post},
    tallies={
        LIKED: lambda like: (((like[2],), LIKE),),
        REPOSTED: lambda repost: (((repost[2],), REPOST),),
        POST: _tally_post,
    },
)
