"""Reads an archive: items in order, by time, by seq, by account; documents as they stood at a time; what is damaged.

Holds one block and one segment's index at a time. Does not own writing (`writer.py`) nor what is asked of the items.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

import orjson

from headrace.load.archive import blocks, segments
from headrace.load.archive.blocks import ArchiveReason, Item, Kind, did_key
from headrace.load.archive.index import Block, Damage, Index
from headrace.load.archive.writer import DOCUMENTS, FRAMES, paths
from schemas.errors import Refused

_INDEXES = 4  # kept at once
_BLOCKS = 32  # blocks of documents kept at once, some 100 kB each


class Wanted(NamedTuple):
    """Which items: `since` <= time < `until` (unix microseconds), seq above `after`, of `dids` (`did_key`s)."""

    since: int = 0
    until: int = 2**64 - 1
    after: int = -1
    dids: frozenset[int] | None = None

    def may_be_in(self, block: Block) -> bool:
        return block.last_time >= self.since and block.first_time < self.until and block.last_seq > self.after


ALL = Wanted()


class Lost(NamedTuple):
    """Damaged bytes of a segment."""

    segment: str
    damage: Damage


class Archive:
    """`damages` grows while items are read. May be asked by several threads at once."""

    def __init__(self, directory: Path) -> None:
        """Raises Refused(ABSENT)."""
        self.directory = directory
        self.damages: list[Lost] = []
        self._lock = RLock()
        self._indexes: OrderedDict[Path, Index] = OrderedDict()
        self._documents: OrderedDict[tuple[Path, int], list[Item]] = OrderedDict()
        if not paths(directory, FRAMES) and not paths(directory, DOCUMENTS):
            raise Refused(ArchiveReason.ABSENT, f"{directory} holds no archive: expected files as 00000001.frames")

    def segments(self, holds: str = FRAMES) -> list[Path]:
        """The files of a series, in order."""
        return paths(self.directory, holds)

    @property
    def signed(self) -> bool:
        """False when any segment says that its items came without signatures."""
        said = map(segments.description, self.segments())
        return all(each is None or each.signed for each in said)

    @property
    def source(self) -> str:
        """Where the first segment says that its items came from."""
        said = next(filter(None, map(segments.description, self.segments())), None)
        return "" if said is None else said.source

    def index(self, segment: Path) -> Index:
        """Kept while a few are in use; of a segment that grows, a new one."""
        with self._lock:
            known = self._indexes.get(segment)
            if known is None or known.covered != segment.stat().st_size:
                known = self._indexes[segment] = segments.indexed(segment)
            self._indexes.move_to_end(segment)
            while len(self._indexes) > _INDEXES:
                self._indexes.popitem(last=False)
            return known

    def items(self, wanted: Wanted = ALL, holds: str = FRAMES) -> Iterator[Item]:
        """In the order in which they were appended. Everything is read from end to end, a part by the index."""
        for segment in self.segments(holds):
            for head, raw in self._scanned(segment) if wanted == ALL else self._sought(segment, wanted):
                yield from _chosen(head, raw, wanted)

    def block(self, segment: Path, block: Block) -> list[Item]:
        """The items of one block that an index names; none of a damaged one."""
        with segment.open("rb") as file:
            try:
                return blocks.items(*segments.read_block(file, block))
            except Refused:
                self._lost(segment, Damage(block.offset, block.length))
                return []

    def documents(self, did: str) -> list[tuple[int, Any]]:
        """Every document of a DID with its time, in order. Raises nothing for damaged ones: they are not there."""
        return [(item.time, found) for item, found in self._of(did, Kind.DOCUMENT)]

    def operations(self, did: str) -> list[Any]:
        """The did:plc operations that were kept of a DID."""
        return [found for _, found in self._of(did, Kind.OPERATION)]

    def content_hash(self) -> str:
        """SHA-256 over every item in order (documents first), whatever the compression: see docs/archive-format.md."""
        total = sha256()
        for holds in (DOCUMENTS, FRAMES):
            for item in self.items(holds=holds):
                total.update(b"%d %d %d %d\n" % (item.time, item.seq, item.kind, len(item.data)))
                total.update(item.data)
        return total.hexdigest()

    def _of(self, did: str, kind: Kind) -> Iterator[tuple[Item, dict[str, Any]]]:
        key = did_key(did)
        for segment in self.segments(DOCUMENTS):
            for block in self.index(segment).holding((key,)):
                for item in self._document_block(segment, block):
                    found = _object(item.data) if item.did_key == key and item.kind == kind else None
                    # Two DIDs may share a key of 8 bytes: a document says whose it is, an operation founds its DID.
                    if found is not None and (kind != Kind.DOCUMENT or found.get("id") == did):
                        yield item, found

    def _document_block(self, segment: Path, block: Block) -> list[Item]:
        name = (segment, block.offset)
        with self._lock:
            known = self._documents.get(name)
            if known is None:
                known = self._documents[name] = self.block(segment, block)
            self._documents.move_to_end(name)
            while len(self._documents) > _BLOCKS:
                self._documents.popitem(last=False)
            return known

    def _scanned(self, segment: Path) -> Iterator[tuple[blocks.Head, bytes]]:
        with segment.open("rb") as file:
            for found in segments.scan(file, lambda damage: self._lost(segment, damage)):
                yield found.head, found.raw

    def _sought(self, segment: Path, wanted: Wanted) -> Iterator[tuple[blocks.Head, bytes]]:
        index = self.index(segment)
        for damage in index.damages:
            self._lost(segment, damage)
        chosen = index.blocks if wanted.dids is None else index.holding(wanted.dids)
        with segment.open("rb") as file:
            for block in filter(wanted.may_be_in, chosen):
                try:
                    yield segments.read_block(file, block)
                except Refused:  # damaged since the index was made
                    self._lost(segment, Damage(block.offset, block.length))

    def _lost(self, segment: Path, damage: Damage) -> None:
        lost = Lost(segment.name, damage)
        if lost not in self.damages:
            self.damages.append(lost)


def last_seq(directory: Path) -> int | None:
    """The greatest seq in an archive, by its indexes; None when there is none yet."""
    found = [block.last_seq for path in paths(directory, FRAMES) for block in segments.indexed(path).blocks]
    return max(found, default=0) or None


def hashes(dids: Collection[str]) -> frozenset[int]:
    """DIDs as `Wanted` has them."""
    return frozenset(map(did_key, dids))


def _chosen(head: blocks.Head, raw: bytes, wanted: Wanted) -> Iterator[Item]:
    if wanted == ALL:
        yield from blocks.items(head, raw)
        return
    times, seqs, dids, kinds, ends = blocks.columns(head, raw)
    since, until, after, accounts = wanted
    for at, time in enumerate(times):
        if since <= time < until and seqs[at] > after and (accounts is None or dids[at] in accounts):
            yield Item(time, seqs[at], dids[at], kinds[at], raw[ends[at] : ends[at + 1]])


def _object(data: bytes) -> dict[str, Any] | None:
    """None for what somebody else put there instead of a JSON object."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
