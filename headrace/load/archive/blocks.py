"""One block of an archive: items with their columns, compressed, behind a head that says what is in it. Pure.

docs/archive-format.md is this file in prose. Does not own files (`segments.py`, `writer.py`) nor what a frame says.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from enum import IntEnum, StrEnum
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

import zstandard

from schemas.errors import Refused

MAGIC = b"HRBLOCK\n"
_HEAD = struct.Struct("<8sIIIQQQQ32s")
HEAD_SIZE = _HEAD.size + 4
ITEMS_MAX = 65_536  # of a block that is read
RAW_MAX = 33_554_432  # bytes of a block that is read, uncompressed
_COLUMNS = 8 + 8 + 8 + 1 + 4  # bytes an item has before its data


class ArchiveReason(StrEnum):
    """What is wrong with an archive, or with what was asked of it."""

    ABSENT = "archive_absent"
    BLOCK_HEAD = "archive_block_head"
    CHECKSUM = "archive_checksum"
    EXISTS = "archive_exists"
    HEAD = "archive_head"
    LINE = "archive_line"
    PAYLOAD = "archive_payload"
    SIGNED = "archive_signed"
    TORN = "archive_torn"
    VERSION = "archive_version"


class Kind(IntEnum):
    """What an item's data is."""

    COMMIT = 1
    SYNC = 2
    IDENTITY = 3
    ACCOUNT = 4
    OTHER = 5
    """A frame of another kind, such as #info, or one that cannot be read."""
    LINE = 16
    """A line of Jetstream's JSON, without its newline."""
    DOCUMENT = 32
    """A DID document, JSON."""
    OPERATION = 33
    """A signed operation of did:plc, JSON."""


KINDS = {kind.value: kind.name.lower() for kind in Kind}
"""Names by number; an archive of a newer program may have others."""


class Item(NamedTuple):
    """`time` is unix microseconds, `seq` is 0 where there is none, `did_key` is `did_key(did)` or 0."""

    time: int
    seq: int
    did_key: int
    kind: int
    data: bytes


class Head(NamedTuple):
    """A block's head: number of items, sizes in bytes, least and greatest time and seq, SHA-256 of the payload."""

    held: int
    raw_size: int
    size: int
    first_time: int
    last_time: int
    first_seq: int
    last_seq: int
    digest: bytes


@lru_cache(maxsize=65_536)
def did_key(did: str) -> int:
    """The first 8 bytes of the SHA-256 of a DID, little-endian."""
    return int.from_bytes(sha256(did.encode()).digest()[:8], "little")


def encode(items: Sequence[Item], compressor: zstandard.ZstdCompressor) -> bytes:
    """A whole block of 1 to ITEMS_MAX items."""
    times, seqs, dids, kinds, data = zip(*items, strict=True)
    count = len(times)
    columns = struct.pack(f"<{count}Q{count}Q{count}Q", *times, *seqs, *dids)
    raw = b"".join((columns, bytes(kinds), struct.pack(f"<{count}I", *map(len, data)), *data))
    payload = compressor.compress(raw)
    head = _HEAD.pack(
        MAGIC,
        count,
        len(raw),
        len(payload),
        min(times),
        max(times),
        min(seqs),
        max(seqs),
        sha256(payload).digest(),
    )
    return b"".join((head, zlib.crc32(head).to_bytes(4, "little"), payload))


def decode_head(data: bytes) -> Head:
    """Raises Refused(BLOCK_HEAD) for what is no head, is damaged, or is beyond the limits."""
    if len(data) != HEAD_SIZE or not data.startswith(MAGIC):
        raise Refused(ArchiveReason.BLOCK_HEAD, f"expected {HEAD_SIZE} bytes that begin with {MAGIC!r}")
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise Refused(ArchiveReason.BLOCK_HEAD, "the block's head has another CRC-32")
    head = Head(*_HEAD.unpack_from(data)[1:])
    if not 0 < head.held <= ITEMS_MAX or head.raw_size > RAW_MAX or head.size > RAW_MAX:
        raise Refused(ArchiveReason.BLOCK_HEAD, f"{head.held} items in {head.raw_size} bytes: beyond the limits")
    return head


def decode_payload(head: Head, payload: bytes) -> bytes:
    """The block uncompressed. Raises Refused(CHECKSUM, PAYLOAD)."""
    if sha256(payload).digest() != head.digest:
        raise Refused(ArchiveReason.CHECKSUM, "the block's bytes have another SHA-256")
    try:
        size = zstandard.frame_content_size(payload)
        raw = zstandard.ZstdDecompressor().decompress(payload) if size == head.raw_size else b""
    except zstandard.ZstdError as error:
        raise Refused(ArchiveReason.PAYLOAD, f"expected zstd: {error}") from error
    if len(raw) != head.raw_size or len(raw) < head.held * _COLUMNS:
        raise Refused(ArchiveReason.PAYLOAD, f"expected {head.raw_size} bytes and columns of {head.held} items")
    return raw


class Columns(NamedTuple):
    """What a block says of its items before their data."""

    times: tuple[int, ...]
    seqs: tuple[int, ...]
    dids: tuple[int, ...]
    kinds: bytes
    ends: tuple[int, ...]
    """Where each item's data ends in the raw block, led by where the first begins."""


def columns(head: Head, raw: bytes) -> Columns:
    """Raises Refused(PAYLOAD) when lengths do not add up."""
    count = head.held
    numbers = struct.unpack_from(f"<{3 * count}Q", raw)
    at = 24 * count
    kinds = raw[at : at + count]
    ends = [at + 5 * count]
    for size in struct.unpack_from(f"<{count}I", raw, at + count):
        ends.append(ends[-1] + size)
    if ends[-1] != len(raw):
        raise Refused(ArchiveReason.PAYLOAD, f"the lengths add up to {ends[-1]} bytes, the block has {len(raw)}")
    return Columns(numbers[:count], numbers[count : 2 * count], numbers[2 * count :], kinds, tuple(ends))


def items(head: Head, raw: bytes) -> list[Item]:
    """Every item of a block that was read whole. Raises Refused(PAYLOAD)."""
    times, seqs, dids, kinds, ends = columns(head, raw)
    data = [raw[start:end] for start, end in pairwise(ends)]
    return list(map(Item, times, seqs, dids, kinds, data))
