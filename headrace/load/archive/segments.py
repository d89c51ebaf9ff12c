"""One segment, a file: a head that says what it holds, then blocks until its end.

Whatever is damaged is passed over up to the next good block, and said. Does not own a block's inside (`blocks.py`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from headrace.load.archive import blocks, index
from headrace.load.archive.blocks import HEAD_SIZE, ArchiveReason, Head
from headrace.load.archive.index import Block, Damage, Index, IndexBuilder
from schemas.errors import Refused

MAGIC = b"HEADRACE"
VERSION = 1
_DESCRIPTION_MAX = 65_536
_CHUNK = 1_048_576


class Description(msgspec.Struct, frozen=True, omit_defaults=True):
    """What every segment says of itself. `source` is where the items came from, for people to read."""

    holds: str
    """`frames` or `documents`."""
    signed: bool
    """Whether its items are frames that can be verified; False for what came from Jetstream."""
    source: str = ""


class Found(NamedTuple):
    """A good block: where it stands, its head and its bytes uncompressed."""

    offset: int
    head: Head
    raw: bytes

    @property
    def end(self) -> int:
        return self.offset + HEAD_SIZE + self.head.size


def head_bytes(description: Description) -> bytes:
    """What a segment begins with."""
    said = msgspec.json.encode(description)
    head = MAGIC + VERSION.to_bytes(4, "little") + len(said).to_bytes(4, "little") + said
    return head + zlib.crc32(head).to_bytes(4, "little")


def read_head(file: BinaryIO) -> tuple[Description, int]:
    """The description and where the first block begins. Raises Refused(HEAD, VERSION)."""
    file.seek(0)
    head = file.read(16)
    if len(head) < 16 or not head.startswith(MAGIC):
        raise Refused(ArchiveReason.HEAD, f"expected a segment, which begins with {MAGIC!r}, found {head[:8]!r}")
    version, size = int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little")
    if version != VERSION:
        raise Refused(ArchiveReason.VERSION, f"expected version {VERSION}, found {version}: a newer program reads it")
    if size > _DESCRIPTION_MAX:
        raise Refused(ArchiveReason.HEAD, f"a description of {size} bytes, at most {_DESCRIPTION_MAX}")
    said = file.read(size)
    if zlib.crc32(head + said) != int.from_bytes(file.read(4), "little"):
        raise Refused(ArchiveReason.HEAD, "the segment's head has another CRC-32")
    try:
        return msgspec.json.decode(said, type=Description), 20 + size
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(ArchiveReason.HEAD, f"the segment's description: {error}") from error


def description(path: Path) -> Description | None:
    """What a segment says of itself, None when its head is damaged."""
    try:
        with path.open("rb") as file:
            return read_head(file)[0]
    except Refused:
        return None


def scan(file: BinaryIO, damaged: Callable[[Damage], None]) -> Iterator[Found]:
    """Every good block in order; what lies between them goes to `damaged`, as one range each time.

    A block that another process is just writing looks torn. Holds one block.
    """
    try:
        at = read_head(file)[1]
    except Refused:
        at = 0
    end = file.seek(0, 2)
    lost = at
    while at < end:
        try:
            found = _read(file, at)
        except Refused:
            at = _next_magic(file, at + 1, end)
            continue
        if lost < at:
            damaged(Damage(lost, at - lost))
        yield found
        at = lost = found.end
    if lost < end:
        damaged(Damage(lost, end - lost))


def read_block(file: BinaryIO, block: Block) -> tuple[Head, bytes]:
    """A block that an index names, with its bytes uncompressed. Raises Refused."""
    found = _read(file, block.offset)
    return found.head, found.raw


def indexed(path: Path, *, keep: bool = True) -> Index:
    """The segment's index: the kept one, else a new one, which is kept if the directory lets us."""
    known = index.load(path)
    if known is not None:
        return known
    builder = IndexBuilder()
    with path.open("rb") as file:
        size = file.seek(0, 2)
        for found in scan(file, builder.damaged):
            dids = blocks.columns(found.head, found.raw).dids
            builder.add(found.offset, found.end - found.offset, found.head, dids)
    made = builder.build(size)
    if keep:
        try:
            index.save(path, made)
        except OSError:
            return made  # a directory that is not ours to write
    return made


def cut_torn_tail(path: Path) -> Damage | None:
    """Cut a segment back to its last good block; what was cut, None when it ended well."""
    damages = indexed(path, keep=False).damages
    size = path.stat().st_size
    torn = next((damage for damage in damages if damage.offset + damage.length == size), None)
    if torn is None:
        return None
    index.path_of(path).unlink(missing_ok=True)
    if torn.offset == 0:
        path.unlink()
    else:
        with path.open("r+b") as file:
            file.truncate(torn.offset)
    return torn


def _read(file: BinaryIO, at: int) -> Found:
    file.seek(at)
    head = blocks.decode_head(file.read(HEAD_SIZE))
    payload = file.read(head.size)
    if len(payload) < head.size:
        raise Refused(ArchiveReason.TORN, f"a block of {head.size} bytes, {len(payload)} are there")
    raw = blocks.decode_payload(head, payload)
    blocks.columns(head, raw)
    return Found(at, head, raw)


def _next_magic(file: BinaryIO, at: int, end: int) -> int:
    """Where the next block's head may begin; `end` when nowhere."""
    while at < end:
        file.seek(at)
        chunk = file.read(_CHUNK)
        found = chunk.find(blocks.MAGIC)
        if found >= 0:
            return at + found
        if len(chunk) < _CHUNK:
            return end
        at += len(chunk) - len(blocks.MAGIC) + 1
    return end
