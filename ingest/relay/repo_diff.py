"""A repo fetched whole, against the log's own copy: what differs becomes one diff.

Blocks are held in memory while the repo is read, bounded in bytes and number. Does not own where the bytes come from,
whether the signature is the account's, nor the verdict on the diff (`ingest.verdict`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from ingest.log import Appended, Head
from ingest.repo.car import require_root
from ingest.repo.car_reader import CarReader
from ingest.repo.commit import SignedCommit, decode_commit
from ingest.repo.mst import Tree
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import check_path
from schemas.cid import Cid
from schemas.entries import Diff, Entry, Op
from schemas.errors import Refused
from schemas.syntax import Did

_BLOCK_BYTES = 100  # a repo of smaller ones on average is made to fill memory
_LEAST_BLOCKS = 10_000
_CHUNK_OPS = 1_000
_CHUNK_BYTES = 2_000_000
_PAGE = 1_000


class RepoLog(Protocol):
    """What a diff is computed from and appended to."""

    async def append(self, entry: Entry) -> Appended: ...

    def head(self, did: str) -> Head | None: ...

    async def settled(self, did: Did) -> None:
        """Return once `head` and `cids` say the same: all that was appended of the account is derived."""
        ...

    def cids(self, did: str, after: str = "", limit: int = 1000) -> list[tuple[str, bytes]]:
        """(path, binary CID) of live records above `after`, in byte order."""
        ...


async def read_repo(pieces: AsyncIterator[bytes], most: int) -> tuple[SignedCommit, dict[bytes, bytes]]:
    """The signed commit and all blocks, hashes checked, of at most `most` bytes. Raises Refused (CAR_*)."""
    reader = CarReader(most)
    blocks: dict[bytes, bytes] = {}
    most_blocks = max(_LEAST_BLOCKS, most // _BLOCK_BYTES)
    async for piece in pieces:
        blocks.update(reader.feed(piece))
        if len(blocks) > most_blocks:
            raise Refused(RepoReason.CAR_SIZE, f"more than {most_blocks} blocks")
    root = require_root(reader.finish(), blocks)
    return decode_commit(blocks[root.raw]), blocks


def records_of(signed: SignedCommit, blocks: dict[bytes, bytes]) -> dict[str, bytes]:
    """Path to binary CID of every record; a repo that lacks a block of its tree or a record is no whole repo."""

    def load(cid: bytes) -> bytes:
        return blocks[cid]

    found: dict[str, bytes] = {}
    for path, cid in Tree.open(signed.data, load).items():
        check_path(path)
        if cid.raw not in blocks:
            raise Refused(RepoReason.RECORD_MISSING, f"{path}: the block of {cid} is not there")
        found[path] = cid.raw
    return found


async def changes(log: RepoLog, did: Did, records: dict[str, bytes], blocks: dict[bytes, bytes]) -> list[Op]:
    """What turns the log's copy into the fetched one, in order of paths."""
    known: dict[str, bytes] = {}
    after = ""
    while page := log.cids(did, after, _PAGE):
        known.update(page)
        after = page[-1][0]
        await asyncio.sleep(0)
    return list(_ops(known, records, blocks))


async def append_diff(log: RepoLog, head: Head | None, signed: SignedCommit, ops: list[Op]) -> None:
    """In chunks, on top of `head`. Raises Rejected when the log's head is another one by then.

    Subscribers of the firehose are told of it if they can have been told of what was before: of an account that they
    never heard of they have no chain that breaks.
    """
    parts = list(_chunks(ops)) or [()]
    first: int | None = None
    for number, part in enumerate(parts):
        diff = Diff(
            did=signed.did,
            base_rev=None if head is None else head.rev,
            base_data=None if head is None else head.data,
            rev=signed.rev,
            commit=signed.cid,
            commit_block=signed.block,
            data=signed.data,
            chunk=number,
            chunks=len(parts),
            first=first,
            ops=part,
            told=head is not None and head.data is not None,
        )
        appended = await log.append(diff)
        if number == 0:
            first = appended.offset


def _ops(known: dict[str, bytes], records: dict[str, bytes], blocks: dict[bytes, bytes]) -> Iterator[Op]:
    for path in sorted(records.keys() | known.keys(), key=str.encode):
        new, old = records.get(path), known.get(path)
        if new == old:
            continue
        before = None if old is None else Cid(old)
        if new is None:
            yield Op("delete", path, None, before, None)
        else:
            yield Op("create" if old is None else "update", path, Cid(new), before, blocks[new])


def _chunks(ops: list[Op]) -> Iterator[tuple[Op, ...]]:
    part: list[Op] = []
    size = 0
    for op in ops:
        weight = len(op.record or b"")
        if part and (len(part) >= _CHUNK_OPS or size + weight > _CHUNK_BYTES):
            yield tuple(part)
            part, size = [], 0
        part.append(op)
        size += weight
    if part:
        yield tuple(part)
