"""Parts of an archive: by time, accounts and collections, into another one; and frames as JSON for people.

A cut by collection keeps whole frames, because a part of a signed commit cannot be verified. Does not own reading and
writing (`reader.py`, `writer.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import orjson

from headrace.load.archive.blocks import KINDS, ArchiveReason, Item, Kind
from headrace.load.archive.items import document_item, frame_item
from headrace.load.archive.reader import Archive, Wanted
from headrace.load.archive.writer import DOCUMENTS, ArchiveWriter
from ingest.repo.car import read_car
from ingest.repo.frame import decode_frame
from ingest.repo.messages import AccountMessage, CommitMessage, IdentityMessage, SyncMessage
from ingest.repo.reasons import RepoReason
from schemas.cbor import CborRefused
from schemas.data import cbor_to_json
from schemas.datetimes import micros
from schemas.errors import Refused
from schemas.limits import FRAME_MAX


def cut(archive: Archive, writer: ArchiveWriter, wanted: Wanted, collections: Collection[str] = ()) -> int:
    """Copy what is wanted, byte for byte, with the documents of the accounts in it; how many frames."""
    dids: set[int] = set()
    copied = 0
    for item in archive.items(wanted):
        if not collections or touches(item, collections):
            writer.frame(item)
            dids.add(item.did_key)
            copied += 1
    everything = Wanted(dids=frozenset(dids))
    for item in archive.items(everything, DOCUMENTS):
        writer.document(item)
    return copied


def touches(item: Item, collections: Collection[str]) -> bool:
    """Whether a commit or line writes to any of the collections (`app.bsky.feed.*`: all below)."""
    return any(_is_in(name, collections) for name in _collections(item))


def _collections(item: Item) -> set[str]:
    if item.kind == Kind.LINE:
        try:
            line = orjson.loads(item.data)
        except orjson.JSONDecodeError:
            return set()
        commit = line.get("commit") if isinstance(line, dict) else None
        return {str(commit.get("collection"))} if isinstance(commit, dict) else set()
    try:
        message = decode_frame(item.data) if item.kind == Kind.COMMIT else None
    except Refused:
        return set()
    return {op.path.partition("/")[0] for op in message.ops} if isinstance(message, CommitMessage) else set()


def _is_in(name: str, collections: Collection[str]) -> bool:
    return name in collections or any(c.endswith(".*") and name.startswith(c[:-1]) for c in collections)


def shown(item: Item) -> dict[str, Any]:
    """One item as JSON: what its frame says, with each operation's record; bytes that cannot be read as hex."""
    said: dict[str, Any] = {"time": item.time, "seq": item.seq, "kind": KINDS.get(item.kind, str(item.kind))}
    if item.kind >= Kind.LINE:
        try:
            return said | {"json": orjson.loads(item.data)}
        except orjson.JSONDecodeError:
            return said | {"hex": item.data.hex()}
    try:
        message = decode_frame(item.data)
        blocks = read_car(message.blocks)[1] if isinstance(message, CommitMessage) else {}
    except Refused as refused:
        return said | {"unreadable": str(refused), "hex": item.data.hex()}
    match message:
        case CommitMessage():
            ops = [
                {
                    "action": op.action,
                    "path": op.path,
                    "cid": None if op.cid is None else str(op.cid),
                    "prev": None if op.prev is None else str(op.prev),
                    "record": None if op.cid is None else _record(blocks.get(op.cid.raw)),
                }
                for op in message.ops
            ]
            prev = None if message.prev_data is None else str(message.prev_data)
            head = {"did": message.did, "rev": message.rev, "since": message.since, "commit": str(message.commit)}
            return said | head | {"prevData": prev, "at": message.time, "bytes": len(item.data), "ops": ops}
        case SyncMessage():
            return said | {"did": message.did, "rev": message.rev, "at": message.time}
        case IdentityMessage():
            return said | {"did": message.did, "handle": message.handle, "at": message.time}
        case AccountMessage():
            state = {"active": message.active, "status": message.status}
            return said | {"did": message.did, **state, "at": message.time}
    return said | {"hex": item.data.hex()}


def _record(block: bytes | None) -> Any:
    if block is None:
        return None
    try:
        return orjson.loads(cbor_to_json(block))
    except CborRefused:
        return {"unreadable": block.hex()}


def import_frames(frames: Path, documents: Path | None, writer: ArchiveWriter) -> int:
    """A file of [u32 little-endian length][frame], and a JSON object of DID to document. How many frames.

    Each is said to have come at the time that it names itself, none before the one before it. Raises Refused for a file
    that ends within a frame (what came before is in the archive), OSError.
    """
    known = {} if documents is None else _documents(documents)
    taken = last = seq = 0
    for data in _framed(frames):
        item, message = frame_item(data, last)
        if message is not None:
            last = max(last, micros(message.time) or 0)
            if message.did in known:
                writer.document(document_item(message.did, known.pop(message.did), last))
        seq = seq if message is None else message.seq
        writer.frame(item._replace(time=last, seq=seq))
        taken += 1
    return taken


def export_frames(archive: Archive, path: Path, wanted: Wanted) -> int:
    """The inverse: every frame as [u32 little-endian length][frame]."""
    written = 0
    with path.open("xb") as file:
        for item in archive.items(wanted):
            if item.kind < Kind.LINE:
                file.write(len(item.data).to_bytes(4, "little") + item.data)
                written += 1
    return written


def _documents(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise Refused(ArchiveReason.LINE, f"{path}: expected a JSON object of DID to document: {error}") from None
    if not isinstance(found, dict):
        raise Refused(ArchiveReason.LINE, f"{path}: expected a JSON object of DID to document")
    return found


def _framed(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while head := file.read(4):
            size = int.from_bytes(head, "little")
            if size > FRAME_MAX:
                raise Refused(RepoReason.FRAME_SIZE, f"a frame of {size} bytes, at most {FRAME_MAX}")
            data = file.read(size)
            if len(head) < 4 or len(data) < size:
                raise Refused(RepoReason.FRAME_SIZE, f"{path} ends inside a frame")
            yield data
