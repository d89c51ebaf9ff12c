"""A post ready to send, and what the rules need to know of it.

`view` + `,"author":{...},"likeCount":...,"viewer":{...},"labels":[...]}` is a postView. The byte 0x00 stands for the
base URL of images. Gates are records at the post's rkey. Does not own counts (`interactions`) nor whether a reply's
root is valid (decided at read).
"""

from __future__ import annotations

from views.table import Table, blob, integer, text

HAS_IMAGES = 1
HAS_VIDEO = 2
HAS_EXTERNAL = 4

TABLE = Table(
    "posts",
    "records",
    partition=(text("uri", "at://did/app.bsky.feed.post/rkey"),),
    columns=(
        text("cid", "of the record"),
        blob("view", "a JSON object left open: uri, cid, record, indexedAt, and embed where it needs no other record"),
        blob("media", "of recordWithMedia: the view of its media, whole; else NULL"),
        text("quote", "URI of the embedded record (any collection); NULL when none"),
        text("root", "URI of the thread's root as the record says; NULL when no reply"),
        text("parent", "URI; NULL when no reply"),
        integer("sort_at", "unix microseconds: min(createdAt, first_time)"),
        integer("indexed_at", "first_time, microseconds"),
        integer("media_kinds", "bits HAS_IMAGES, HAS_VIDEO, HAS_EXTERNAL, also inside recordWithMedia"),
        text("langs", "joined by commas; empty when none"),
        blob("labels", "self-labels: label objects joined by commas, without brackets"),
    ),
)
