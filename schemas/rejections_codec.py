"""The messages of `rejections`, version 1 (docs/topics.md): one byte version, then a MessagePack array.

The key is the account's DID, so compaction keeps its newest. Does not own the reasons (`ingest.log.Reason`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.errors import InvariantError

VERSION: Final = 1

_PREFIX = bytes((VERSION,))


class Rejection(msgspec.Struct, frozen=True, array_like=True):
    """The log has refused an entry that the PDS `pds` wrote: entry `offset` of `shard` of `commits`."""

    pds: str
    reason: str
    detail: str
    shard: int
    offset: int
    time: int


def encode_rejection(rejection: Rejection) -> bytes:
    return _PREFIX + msgspec.msgpack.encode(rejection)


def decode_rejection(value: bytes | None) -> Rejection:
    """Raises InvariantError for a version that this code does not know."""
    if not value or value[0] != VERSION:
        raise InvariantError(
            f"rejections: expected version {VERSION}, found {value[:1].hex() if value else 'no value'}; "
            "this log was written by a newer headrace: upgrade this one"
        )
    return msgspec.msgpack.decode(memoryview(value)[1:], type=Rejection)
