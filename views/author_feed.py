"""What an account posted and reposted, newest first, once for each of the five filters.

Reposts are in POSTS_WITH_REPLIES, POSTS_NO_REPLIES and POSTS_AND_AUTHOR_THREADS (packages/bsky
src/data-plane/server/routes/feeds.ts). `posts_count` stands in POSTS_WITH_REPLIES alone.
"""

from __future__ import annotations

from views.table import APPLIED, Table, integer, newest_first, text

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
