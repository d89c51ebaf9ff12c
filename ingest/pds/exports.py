"""A repo or parts of it as CAR: the whole, what is new since a rev, some blocks, the proof of one record.

An export reads one state of the file from beginning to end, while writes go on. Does not own whether the repo may be
shown (hosted.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator

from ingest.pds.account_file import Snapshot
from ingest.pds.head import EMPTY_ROOT, Head
from ingest.pds.refusals import repo_not_found
from ingest.repo.car import car_bytes, write_car
from ingest.repo.mst_node import EMPTY
from ingest.repo.mst_proof import path_proof
from schemas.cid import Cid

_PIECE = 64 * 1024


async def repo_car(snapshot: Snapshot, did: str, since: str | None) -> AsyncIterator[bytes]:
    """The commit, then nodes, then records. Closes the snapshot."""
    try:
        root = snapshot.root()
        if root is None:
            raise repo_not_found(did)
        piece: list[bytes] = []
        size = 0

        def blocks() -> Iterator[tuple[bytes, bytes]]:
            assert root is not None
            yield root.cid.raw, root.block
            if root.data == EMPTY_ROOT:
                yield EMPTY_ROOT.raw, EMPTY
            yield from snapshot.nodes_since(since or "")
            yield from snapshot.records_since(since or "")

        for part in write_car((root.cid,), blocks()):
            piece.append(part)
            size += len(part)
            if size >= _PIECE:
                yield b"".join(piece)
                piece.clear()
                size = 0
                await asyncio.sleep(0)
        if piece:
            yield b"".join(piece)
    finally:
        snapshot.close()


def blocks_car(head: Head, cids: Iterable[Cid]) -> tuple[bytes, list[Cid]]:
    """A CAR of the blocks that are there, and the CIDs of those that are not."""
    found: dict[bytes, bytes] = {}
    missing: list[Cid] = []
    for cid in cids:
        block = _block(head, cid.raw)
        if block is None:
            missing.append(cid)
        else:
            found[cid.raw] = block
    return b"".join(write_car((), found)), missing


def record_proof(head: Head, path: str) -> bytes:
    """The commit, the nodes on the way to the record, and the record; without it, the proof that it is not there."""
    root = head.root
    if root is None:
        raise repo_not_found(head.did)
    blocks = {root.cid.raw: root.block, **path_proof(head.tree, path)}
    stored = head.record(path)
    if stored is not None:
        blocks[stored.cid.raw] = stored.value
    return car_bytes(root.cid, blocks)


def _block(head: Head, cid: bytes) -> bytes | None:
    if head.root is not None and cid == head.root.cid.raw:
        return head.root.block
    with contextlib.suppress(KeyError):
        return head.load(cid)
    if head.overlay is not None:
        for stored in head.overlay.records.values():
            if stored is not None and stored.cid.raw == cid:
                return stored.value
    return head.file.record_block(cid)
