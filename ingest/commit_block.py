"""Finds the signed commit inside a frame without parsing its CAR.

Self-verifying: what is returned hashes to the CID that was asked for. Does not own CARs (`ingest.repo.car`).
"""

from __future__ import annotations

from hashlib import sha256

from schemas.cid import Cid
from schemas.errors import InvariantError

_AFTER_ROOT = b"gversion\x01"


def find_commit_block(tail: bytes, commit: Cid) -> bytes:
    """HOT: the block of `commit` in a frame's bytes after `seq`.

    A CAR section is varint(length of CID and data), CID, data. The CID also stands in the frame's `commit` and in the
    CAR's roots: no length before those gives data that hashes to it. The varint is read backwards, and its start is
    ambiguous (the byte before it may have its high bit set), so each width is tried, the usual one first.
    """
    raw = commit.raw
    digest = raw[4:]
    size = len(raw)
    at = tail.find(raw)
    if tail.startswith(_AFTER_ROOT, at + size):
        at = tail.find(raw, at + size)  # the CAR's header; a commit is a map, which begins otherwise
    while at >= 0:
        for width in (2, 1, 3):
            length = _varint(tail[at - width : at])
            if length > size and sha256(data := tail[at + size : at + length]).digest() == digest:
                return data
        at = tail.find(raw, at + 1)
    raise InvariantError(f"frame without the block of its commit {commit}: a verified frame carries it")


def _varint(data: bytes) -> int:
    """The unsigned LEB128 that is exactly `data`; 0 if it is none."""
    value = 0
    last = len(data) - 1
    for index, byte in enumerate(data):
        if (byte >= 0x80) == (index == last):
            return 0
        value |= (byte & 0x7F) << 7 * index
    return value
