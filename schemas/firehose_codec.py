"""The messages of `firehose`, version 1 (docs/topics.md): one byte version, then a MessagePack array.

The array is (kind, did, head, tail, time); `seq` is not in it: it follows from the message's offset, and serving a
frame is `head + cbor_uint(seq) + tail`. Does not own the frames (`ingest.repo.frame`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.entries import FirehoseEvent, FirehoseKind
from schemas.errors import InvariantError
from schemas.syntax import Did

VERSION: Final = 1

_PREFIX = bytes((VERSION,))
_encode = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


def encode_event(did: Did, event: tuple[FirehoseKind, bytes, bytes], time: int) -> bytes:
    """HOT: the value of an event (kind, head, tail)."""
    kind, head, tail = event
    return _PREFIX + _encode((kind, str(did), head, tail, time))


def decode_event(value: bytes | None, seq: int) -> FirehoseEvent:
    """HOT. Raises InvariantError for a version that this code does not know."""
    if not value or value[0] != VERSION:
        found = f"version {value[0]}" if value else "no value"
        raise InvariantError(
            f"firehose, seq {seq}: expected version {VERSION}, found {found}; "
            "this log was written by a newer headrace: upgrade this one"
        )
    kind, did, head, tail, time = _unpack(memoryview(value)[1:])
    return FirehoseEvent(seq, Did(did), kind, head, tail, time)
