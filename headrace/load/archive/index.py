"""The index of one segment: its blocks by time and seq, and which blocks hold which account.

It can always be made again from the blocks: a file of it that is missing, damaged or of another length of the segment
is. Does not own the blocks (`blocks.py`) nor reading a segment (`segments.py`).
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from headrace.load.archive.blocks import Head

MAGIC = b"HRINDEX\n"
VERSION = 1
_HEAD = struct.Struct("<8sIIIIQ")
_BLOCK = struct.Struct("<QIIQQQQ")
_DAMAGE = struct.Struct("<QQ")


class Block(NamedTuple):
    """Where a block stands (its head's offset and all its bytes), and what its head says."""

    offset: int
    length: int
    held: int
    first_time: int
    last_time: int
    first_seq: int
    last_seq: int


class Damage(NamedTuple):
    """Bytes of a segment that hold no good block."""

    offset: int
    length: int


class Index:
    """Of the segment's first `covered` bytes; `keys` rise, and `numbers` beside them are places in `blocks`."""

    def __init__(
        self,
        covered: int,
        blocks: list[Block],
        damages: list[Damage],
        keys: array[int],
        numbers: array[int],
    ) -> None:
        self.covered = covered
        self.blocks = blocks
        self.damages = damages
        self._keys = keys
        self._numbers = numbers

    def holding(self, dids: Iterable[int]) -> list[Block]:
        """The blocks with an item of any of these accounts (by `did_key`), in the segment's order."""
        found: set[int] = set()
        for did in dids:
            at = bisect_left(self._keys, did)
            while at < len(self._keys) and self._keys[at] == did:
                found.add(self._numbers[at])
                at += 1
        return [self.blocks[number] for number in sorted(found)]

    @property
    def accounts(self) -> int:
        """Different accounts in the segment."""
        return len(set(self._keys) - {0})

    def to_bytes(self) -> bytes:
        head = _HEAD.pack(MAGIC, VERSION, len(self.blocks), len(self.damages), len(self._keys), self.covered)
        parts = [head, *(_BLOCK.pack(*block) for block in self.blocks)]
        parts += (_DAMAGE.pack(*damage) for damage in self.damages)
        parts += (_little(self._keys), _little(self._numbers))
        body = b"".join(parts)
        return body + sha256(body).digest()

    @classmethod
    def parse(cls, data: bytes) -> Index | None:
        """None for anything but what `to_bytes` makes."""
        body = data[:-32]
        if len(body) < _HEAD.size or not body.startswith(MAGIC) or sha256(body).digest() != data[-32:]:
            return None
        _, version, blocks, damages, postings, covered = _HEAD.unpack_from(body)
        first_damage = _HEAD.size + blocks * _BLOCK.size
        first_key = first_damage + damages * _DAMAGE.size
        first_number = first_key + 8 * postings
        if version != VERSION or first_number + 4 * postings != len(body):
            return None
        keys, numbers = array("Q"), array("I")
        keys.frombytes(body[first_key:first_number])
        numbers.frombytes(body[first_number:])
        if sys.byteorder == "big":
            keys.byteswap()
            numbers.byteswap()
        return cls(
            covered,
            list(map(Block._make, _BLOCK.iter_unpack(body[_HEAD.size : first_damage]))),
            list(map(Damage._make, _DAMAGE.iter_unpack(body[first_damage:first_key]))),
            keys,
            numbers,
        )


class IndexBuilder:
    """Gathers an index while blocks are written or read, in order."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._damages: list[Damage] = []
        self._keys = array("Q")
        self._numbers = array("I")

    def add(self, offset: int, length: int, head: Head, dids: Iterable[int]) -> None:
        number = len(self._blocks)
        times = (head.first_time, head.last_time, head.first_seq, head.last_seq)
        self._blocks.append(Block(offset, length, head.held, *times))
        before = len(self._keys)
        self._keys.extend(set(dids))
        self._numbers.extend([number] * (len(self._keys) - before))

    def damaged(self, damage: Damage) -> None:
        self._damages.append(damage)

    def build(self, covered: int) -> Index:
        order = sorted(range(len(self._keys)), key=lambda at: (self._keys[at], self._numbers[at]))
        keys = array("Q", [self._keys[at] for at in order])
        numbers = array("I", [self._numbers[at] for at in order])
        return Index(covered, self._blocks, self._damages, keys, numbers)


def path_of(segment: Path) -> Path:
    """Where the index of a segment lies."""
    return segment.with_name(segment.name + ".index")


def load(segment: Path) -> Index | None:
    """The kept index, if there is one that covers the whole segment."""
    try:
        data = path_of(segment).read_bytes()
        size = segment.stat().st_size
    except FileNotFoundError:
        return None
    index = Index.parse(data)
    return index if index is not None and index.covered == size else None


def save(segment: Path, index: Index) -> None:
    """Put it beside its segment, whole or not at all."""
    path = path_of(segment)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(index.to_bytes())
    part.replace(path)


def _little(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
