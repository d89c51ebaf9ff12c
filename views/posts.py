"""A post ready to send, and what the rules need to know of it.

`view` + `,"author":{...},"likeCount":...,"viewer":{...},"labels":[...]}` is a postView. The byte 0x00 stands for the
base URL of images. Does not own counts (`interactions`), gates (`restrictions`) nor whether a reply's
root is valid (decided at read).
"""

from __future__ import annotations

from collections.abc import Sequence

from views.post_view import HAS_EXTERNAL, HAS_IMAGES, HAS_VIDEO, media_kinds, mentions, post_view, quoted, self_labels
from views.record import POST, Record
from views.table import Row, Table, blob, integer, text
from views.view import View

__all__ = ["HAS_EXTERNAL", "HAS_IMAGES", "HAS_VIDEO", "TABLE", "VIEW"]

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
        text("mentions", "DIDs that the text mentions, joined by spaces; empty when none"),
    ),
)


def _rows(post: Record) -> Sequence[Row]:
    value = post.value
    reply = value.get("reply")
    view, media = post_view(post)
    return (
        (
            post.uri,
            post.cid,
            view,
            media,
            quoted(value),
            None if reply is None else reply["root"]["uri"],
            None if reply is None else reply["parent"]["uri"],
            post.sort_at,
            post.first_time,
            media_kinds(value),
            ",".join(value.get("langs", ())),
            self_labels(post),
            mentions(value),
        ),
    )


VIEW = View(TABLE, rows={POST: _rows})
