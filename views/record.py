"""What projections are given: a valid record, decoded. Its parts are facts of the log, never of a clock.

Does not own decoding or validation (`processors.decode`).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.datetimes import micros

POST: Final = "app.bsky.feed.post"
LIKE: Final = "app.bsky.feed.like"
REPOST: Final = "app.bsky.feed.repost"
FOLLOW: Final = "app.bsky.graph.follow"
BLOCK: Final = "app.bsky.graph.block"
PROFILE: Final = "app.bsky.actor.profile"
THREADGATE: Final = "app.bsky.feed.threadgate"
POSTGATE: Final = "app.bsky.feed.postgate"
CHAT_DECLARATION: Final = "chat.bsky.actor.declaration"
NOTIFICATION_DECLARATION: Final = "app.bsky.notification.declaration"


class Record(msgspec.Struct, frozen=True, gc=False):
    """`value` has passed its lexicon and `rkey` its collection's rule; times are unix microseconds."""

    did: str
    collection: str
    rkey: str
    uri: str
    cid: str
    value: dict[str, Any]
    data: bytes
    first_time: int
    created_at: int
    sort_at: int


def make_record(
    did: str, collection: str, rkey: str, *, cid: str, value: dict[str, Any], data: bytes, first_time: int
) -> Record:
    """`created_at` is what the record says, or `first_time` when it says nothing."""
    said = value.get("createdAt")
    created = micros(said) if type(said) is str else None
    if created is None:
        created = first_time
    return Record(
        did,
        collection,
        rkey,
        f"at://{did}/{collection}/{rkey}",
        cid,
        value,
        data,
        first_time,
        created,
        min(created, first_time),
    )


def authority(uri: str) -> str:
    """Who a URI belongs to: what its shard is found by. Total over any string."""
    return uri.split("/", 3)[2] if uri.startswith("at://") else uri
