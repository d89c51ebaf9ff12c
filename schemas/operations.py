"""`operations`: what the AppView itself writes for an account, and its bytes in Kafka.

A published contract like `schemas.entries`. The key of an entry is its owner, its kind and its subject: the smallest
thing that one call sets. Values are absolute, so that the last one of a key in its shard is what holds (EXACTNESS 23).
Private to the owner: nothing of it is in a repo or a firehose. Does not own what a kind means to views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from schemas.errors import InvariantError
from schemas.syntax import Did

MUTE: Final = "mute"
"""Subject: a DID. Value: one byte, the bits below; 0 mutes all that the account writes."""
ONLY_REPOSTS: Final = 1
ONLY_QUOTES: Final = 2
BOOKMARK: Final = "bookmark"
"""Subject: the AT-URI of a post. Value: the CID it had, as text."""
THREAD_MUTE: Final = "threadmute"
"""Subject: the AT-URI of a thread's root. Value: empty."""

VERSION: Final = 1
_SEPARATOR: Final = " "

Headers = list[tuple[str, bytes]]


class Operation(msgspec.Struct, frozen=True, gc=False):
    """The current value of one key; None: there is none any more.

    `time` is unix microseconds, stamped once by who writes it into the log; `offset` is its place in its shard of
    `operations`. An appender passes 0 for both.
    """

    did: Did
    kind: str
    subject: str
    value: bytes | None
    time: int = 0
    offset: int = 0


def encode(operation: Operation) -> tuple[bytes, bytes | None, Headers]:
    """Key, value and headers of its message; a message without a value is a removal, and what compaction ends with."""
    key = _SEPARATOR.join((operation.did, operation.kind, operation.subject)).encode()
    if operation.value is None:
        return key, None, [("v", b"%d" % VERSION), ("time", b"%d" % operation.time)]
    return key, bytes((VERSION,)) + msgspec.msgpack.encode((operation.value, operation.time)), []


def decode(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]], offset: int) -> Operation:
    """Raises InvariantError: an entry of another version stops its shard."""
    try:
        did, kind, subject = (key or b"").decode().split(_SEPARATOR, 2)
        if value is None:
            said = dict(headers)
            version, found, time = int(said["v"]), None, int(said["time"])
        else:
            version = value[0]
            found, time = msgspec.msgpack.decode(value[1:])[:2] if version == VERSION else (None, 0)
    except (ValueError, KeyError, IndexError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise InvariantError(
            f"operations@{offset}: expected an owner, a kind and a subject with a value of version {VERSION},"
            f" found key {key!r:.200} ({error!r}): it is not an AppView's; find who writes to the topic"
        ) from error
    if version != VERSION:
        raise InvariantError(
            f"operations@{offset} is of version {version}, expected {VERSION}: it is of a newer release; run that one"
        )
    return Operation(Did(did), kind, subject, found, time, offset)
