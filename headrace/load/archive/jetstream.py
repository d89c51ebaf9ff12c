"""Archives to and from Jetstream's JSON lines, plain or zstd.

What came as lines has no signatures: it is kept as lines, said to be unsigned, and goes out as it came in. Does not own
a line's form (`schemas/jetstream.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard

from headrace.load.archive.blocks import ArchiveReason, Item, Kind, did_key
from headrace.load.archive.reader import ALL, Archive, Wanted
from headrace.load.archive.writer import ArchiveWriter
from ingest.repo.car import read_car
from ingest.repo.frame import decode_frame
from ingest.repo.messages import AccountMessage, CommitMessage, IdentityMessage
from schemas import jetstream
from schemas.cbor import CborRefused
from schemas.errors import Refused

LINE_MAX = 2_097_152  # bytes: a record at its largest, in JSON
_ZSTD = b"\x28\xb5\x2f\xfd"


class _Line(msgspec.Struct):
    did: str
    time_us: int
    kind: str


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines without their newline, of plain text or zstd; the last may lack one.

    Raises Refused(LINE) for a longer one than LINE_MAX and for zstd that is damaged or ends too early.
    """
    start = file.read(len(_ZSTD))
    buffer = bytearray()
    for piece in _unpacked(start, file) if start == _ZSTD else _plain(start, file):
        buffer += piece
        if b"\n" in piece:
            *lines, rest = bytes(buffer).split(b"\n")
            buffer = bytearray(rest)
            yield from (line.rstrip(b"\r") for line in lines if line.strip())
        if len(buffer) > LINE_MAX:
            raise Refused(ArchiveReason.LINE, f"a line of more than {LINE_MAX} bytes")
    if buffer.strip():
        yield bytes(buffer)


def _plain(start: bytes, file: BinaryIO) -> Iterator[bytes]:
    yield start
    while piece := file.read(65_536):
        yield piece


def _unpacked(start: bytes, file: BinaryIO) -> Iterator[bytes]:
    """Frame after frame, in small steps: zstd makes at most 16 MB out of one."""
    unpacking = None
    data = start
    while data or (data := file.read(512)):
        unpacking = unpacking or zstandard.ZstdDecompressor().decompressobj()
        try:
            yield unpacking.decompress(data)
        except zstandard.ZstdError as error:
            raise Refused(ArchiveReason.LINE, f"expected zstd: {error}") from error
        data = b""
        if unpacking.eof:
            data, unpacking = unpacking.unused_data, None
    if unpacking is not None:
        raise Refused(ArchiveReason.TORN, "the file ends within a zstd frame")


def import_lines(file: BinaryIO, writer: ArchiveWriter) -> tuple[int, list[Refused]]:
    """How many lines went in, and the first of those that did not. Stops where the input cannot be read further."""
    taken = 0
    refused: list[Refused] = []
    try:
        for line in read_lines(file):
            try:
                said = msgspec.json.decode(line, type=_Line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                refused = [*refused, Refused(ArchiveReason.LINE, f"{error}: {line[:80]!r}")][:100]
                continue
            if not 0 <= said.time_us < 2**63:
                refused = [*refused, Refused(ArchiveReason.LINE, f"time_us is {said.time_us}")][:100]
                continue
            writer.frame(Item(said.time_us, said.time_us, did_key(said.did), Kind.LINE, line))
            taken += 1
    except Refused as error:
        refused.append(error)
    return taken, refused


def export_lines(archive: Archive, wanted: Wanted = ALL) -> Iterator[bytes]:
    """Every line, without its newline; `time_us` is the time at which a frame was received.

    What Jetstream does not carry (#sync, frames that cannot be read, records that JSON cannot show) is left out.
    """
    for item in archive.items(wanted):
        if item.kind == Kind.LINE:
            yield item.data
        elif item.kind < Kind.LINE:
            yield from frame_lines(item.data, item.time)


def frame_lines(frame: bytes, time_us: int) -> Iterator[bytes]:
    """The lines of one frame."""
    try:
        message = decode_frame(frame)
        blocks = read_car(message.blocks)[1] if isinstance(message, CommitMessage) else {}
    except Refused:
        return
    match message:
        case CommitMessage():
            for op in message.ops:
                record = None if op.cid is None else blocks.get(op.cid.raw)
                if op.cid is not None and record is None:
                    continue
                try:
                    yield jetstream.commit_line(message.did, time_us, message.rev, op.action, op.path, record, op.cid)
                except CborRefused:
                    continue
        case IdentityMessage(seq=seq, did=did, time=time, handle=handle):
            yield jetstream.identity_line(did, time_us, seq, time, handle)
        case AccountMessage(seq=seq, did=did, time=time, active=active, status=status):
            yield jetstream.account_line(did, time_us, seq, time, active=active, status=status)


def write_lines(lines: Iterator[bytes], path: Path) -> int:
    """Into a file, zstd when its name ends so; how many."""
    written = 0
    with path.open("xb") as file:
        packed = zstandard.ZstdCompressor(level=3).stream_writer(file) if path.suffix == ".zst" else file
        with packed as out:
            for line in lines:
                out.write(line + b"\n")
                written += 1
    return written
