"""What an account posted and reposted, newest first, once for each of the five filters.

Reposts are in POSTS_WITH_REPLIES, POSTS_NO_REPLIES and POSTS_AND_AUTHOR_THREADS (packages/bsky
src/data-plane/server/routes/feeds.ts). `posts_count` stands in POSTS_WITH_REPLIES alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from views.post_view import HAS_IMAGES, HAS_VIDEO, media_kinds
from views.record import POST, REPOST, Record
from views.table import APPLIED, Key, Row, Table, integer, newest_first, text
from views.view import REPOSTED, View

POSTS_WITH_REPLIES = 0
POSTS_NO_REPLIES = 1
POSTS_WITH_MEDIA = 2
POSTS_AND_AUTHOR_THREADS = 3
POSTS_WITH_VIDEO = 4

TABLE = Table(
    "author_feed",
    "records",
    partition=(text("did", "author or reposter"), integer("filter", "one of the five")),
    clustering=(
        newest_first(),
        text("uri", "the post"),
        text("repost_uri", "the repost that brings it; empty for the author's own"),
    ),
    columns=(
        text("repost_cid", "of the repost record; empty for the author's own"),
        integer("indexed_at", "first_time of the post or repost record, microseconds"),
    ),
    statics=(integer("posts_count", "live posts, replies included, reposts not"), APPLIED),
)

_REPOSTS_IN = (POSTS_WITH_REPLIES, POSTS_NO_REPLIES, POSTS_AND_AUTHOR_THREADS)


def _post(post: Record) -> Sequence[Row]:
    did = post.did
    reply = post.value.get("reply")
    filters = [POSTS_WITH_REPLIES]
    if reply is None:
        filters += (POSTS_NO_REPLIES, POSTS_AND_AUTHOR_THREADS)
    elif reply["root"]["uri"].startswith(f"at://{did}/"):
        filters.append(POSTS_AND_AUTHOR_THREADS)
    if "embed" in post.value:
        kinds = media_kinds(post.value)
        if kinds & HAS_IMAGES:
            filters.append(POSTS_WITH_MEDIA)
        if kinds & HAS_VIDEO:
            filters.append(POSTS_WITH_VIDEO)
    tail = (post.sort_at, post.uri, "", "", post.first_time)
    return [(did, each, *tail) for each in filters]


def _reposted(repost: Row) -> Sequence[Row]:
    actor, _, subject, rkey, sort_at, _, indexed_at, cid = repost
    tail = (sort_at, subject, f"at://{actor}/{REPOST}/{rkey}", cid, indexed_at)
    return [(actor, each, *tail) for each in _REPOSTS_IN]


def _tally(post: Record) -> Sequence[tuple[Key, int]]:
    return (((post.did, POSTS_WITH_REPLIES), 0),)


VIEW = View(TABLE, rows={POST: _post, REPOSTED: _reposted}, tallies={POST: _tally})
