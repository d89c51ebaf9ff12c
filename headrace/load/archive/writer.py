"""Appends to an archive: a directory of segments, frames in one series and DID documents in another.

Items gather until a block is full; what is flushed is in the file, with its documents before it, and what is synced
survives a power cut. Opening cuts torn tails back and always begins new segments, so that what was written stays as it
is. One process writes an archive at a time. Does not own the blocks (`blocks.py`) nor reading (`reader.py`).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import BinaryIO, Self

import zstandard

from headrace.load.archive import blocks, index, segments
from headrace.load.archive.blocks import ArchiveReason, Item
from headrace.load.archive.index import Damage, IndexBuilder
from headrace.load.archive.segments import Description
from schemas.errors import Refused

FRAMES, DOCUMENTS = "frames", "documents"
LOCK = ".lock"
BLOCK_ITEMS = {FRAMES: 1_024, DOCUMENTS: 64}
BLOCK_BYTES = 4_194_304  # of items' data
SEGMENT_BYTES = 268_435_456
SEGMENT_ITEMS = 262_144
LEVEL = 3


class Series:
    """The segments of one kind, being appended to. The next segment's file is made with its first block."""

    def __init__(self, directory: Path, description: Description, level: int = LEVEL) -> None:
        self._directory = directory
        self._description = description
        self._compressor = zstandard.ZstdCompressor(level=level)
        self._items: list[Item] = []
        self._size = 0
        self._block_items = BLOCK_ITEMS[description.holds]
        self._file: BinaryIO | None = None
        self._path = directory
        self._at = 0
        self._written = 0
        self._index = IndexBuilder()
        self._next = 1 + max((number(path) for path in paths(directory, description.holds)), default=0)

    def add(self, item: Item) -> bool:
        """HOT. True when a block is full: flush then."""
        self._items.append(item)
        self._size += len(item.data)
        return len(self._items) >= self._block_items or self._size >= BLOCK_BYTES

    def flush(self) -> None:
        """Write what waits as one block."""
        if not self._items:
            return
        block = blocks.encode(self._items, self._compressor)
        if self._file is None or self._at + len(block) > SEGMENT_BYTES or self._written >= SEGMENT_ITEMS:
            self._roll()
        assert self._file is not None
        self._file.write(block)
        self._file.flush()
        head = blocks.decode_head(block[: blocks.HEAD_SIZE])
        self._index.add(self._at, len(block), head, (item.did_key for item in self._items))
        self._at += len(block)
        self._written += len(self._items)
        self._items.clear()
        self._size = 0

    def sync(self) -> None:
        """What was flushed survives a power cut when this returns."""
        if self._file is not None:
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """End the segment: synced, with its index beside it."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None
            index.save(self._path, self._index.build(self._at))

    def _roll(self) -> None:
        self.close()
        self._path = self._directory / f"{self._next:08d}.{self._description.holds}"
        self._next += 1
        self._file = self._path.open("xb")
        head = segments.head_bytes(self._description)
        self._file.write(head)
        self._at, self._written, self._index = len(head), 0, IndexBuilder()
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class ArchiveWriter:
    """Use as a context. `cut` is what opening cut off torn tails, by file."""

    def __init__(self, directory: Path, *, source: str, signed: bool = True, level: int = LEVEL) -> None:
        """Raises Refused(EXISTS) for a directory of anything else, or an archive that another process appends to."""
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        strangers = [path.name for path in directory.iterdir() if not _ours(path)]
        if strangers:
            raise Refused(
                ArchiveReason.EXISTS, f"{directory} holds {strangers[0][:100]!r}: expected an archive or none"
            )
        self._lock = (directory / LOCK).open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise Refused(ArchiveReason.EXISTS, f"{directory} is being written by another process") from None
        try:
            self.cut = self._mend()
            self._refuse_mixture(signed=signed)
        except BaseException:
            self._lock.close()
            raise
        self._frames = Series(directory, Description(FRAMES, signed, source), level)
        self._documents = Series(directory, Description(DOCUMENTS, signed, source), level)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def holds_items(self) -> bool:
        """Whether there is anything in it from before."""
        return bool(paths(self.directory, FRAMES) or paths(self.directory, DOCUMENTS))

    def frame(self, item: Item) -> None:
        """Append a frame or line. HOT."""
        if self._frames.add(item):
            self.flush()

    def document(self, item: Item) -> None:
        """Append a DID document; before the frames that need it."""
        if self._documents.add(item):
            self._documents.flush()

    def flush(self) -> None:
        """Whatever was appended is in the files, documents first."""
        self._documents.flush()
        self._frames.flush()

    def sync(self) -> None:
        """Flushed, and safe from a power cut."""
        self._documents.flush()
        self._documents.sync()
        self._frames.flush()
        self._frames.sync()

    def close(self) -> None:
        self.flush()
        self._documents.close()
        self._frames.close()
        self._lock.close()

    def _mend(self) -> dict[str, Damage]:
        cut = {}
        for holds in (FRAMES, DOCUMENTS):
            for path in paths(self.directory, holds)[-1:]:
                torn = segments.cut_torn_tail(path)
                if torn is not None:
                    cut[path.name] = torn
        return cut

    def _refuse_mixture(self, *, signed: bool) -> None:
        for path in paths(self.directory, FRAMES):
            said = segments.description(path)
            if said is not None and said.signed is not signed:
                words = ("signed frames", "unsigned lines") if said.signed else ("unsigned lines", "signed frames")
                raise Refused(ArchiveReason.EXISTS, f"{self.directory} holds {words[0]}: {words[1]} go elsewhere")


def paths(directory: Path, holds: str) -> list[Path]:
    """The segments of one series in order."""
    found = (path for path in directory.glob(f"*.{holds}") if path.stem.isdigit() and path.stem.isascii())
    return sorted(found, key=number)


def number(segment: Path) -> int:
    return int(segment.stem)


def _ours(path: Path) -> bool:
    return path.name == LOCK or path.name.split(".")[0].isdigit()
