"""A whole repo (CAR v1) into the log: verified, then what differs from the log's own copy as one diff.

Does not own the format (`ingest.repo`), the verdict on the diff (`ingest.verdict`) nor where the bytes come from.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator

from headrace.commands.ingest_frames import FeedReason
from headrace.outcomes import Outcomes
from ingest.identity.did_doc import DidDocument
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.resolver import DidResolver
from ingest.log import Head, Log, Rejected
from ingest.repo.car import require_root
from ingest.repo.car_reader import CarReader
from ingest.repo.commit import SignedCommit, decode_commit
from ingest.repo.mst import Tree
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import check_path, check_rev
from schemas.cid import Cid
from schemas.entries import Diff, Identity, Op
from schemas.errors import Refused
from schemas.syntax import Did

CAR_MAX = 1_000_000_000  # bytes of one file; its blocks are held in memory while it is verified
_CHUNK_OPS = 1_000
_CHUNK_BYTES = 2_000_000
_PAGE = 1_000


async def feed_car(
    log: Log,
    resolver: DidResolver,
    hosted: Callable[[str], bool],
    pieces: AsyncIterator[bytes],
    *,
    trust_handles: bool = False,
    trust_signature: bool = False,
    now: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> Outcomes:
    """Raises Refused when nothing of the file can enter; Rejected is an outcome (the log's head has moved on).

    `trust_signature` is the operator's word for an account that no longer resolves (an archived repo): the signature
    alone is then not checked, and the summary says so. Hashes, the tree and every path always are.
    """
    signed, blocks = await _read(pieces)
    did = signed.did
    if hosted(did):
        raise Refused(FeedReason.HOSTED_HERE, f"{did} is hosted here: use com.atproto.repo.importRepo")
    document = await _document(resolver, did, trust_signature=trust_signature)
    if not trust_signature:
        _check_signature(signed, document)
    check_rev(signed.rev, None, now())
    outcomes = Outcomes("records")
    signature = "not checked" if trust_signature else "verified"
    outcomes.more = {"did": did, "rev": signed.rev, "commit": str(signed.cid), "signature": signature}
    records = _records(signed, blocks)
    head = log.head(did)
    if trust_handles and document is not None and document.handles:
        handle = document.handles[0]
        if head is None or head.handle != handle:
            await log.append(Identity(did, handle))
            head = log.head(did)
    if head is not None and head.commit == signed.cid:
        outcomes.more["unchanged"] = len(records)
        return outcomes
    ops = list(_changes(log, did, records, blocks))
    try:
        await _append(log, head, signed, ops)
    except Rejected as rejected:
        outcomes.refuse(rejected, did)
    else:
        outcomes.accept(len(ops))
        outcomes.more["unchanged"] = len(records) - sum(op.action != "delete" for op in ops)
    return outcomes


async def _document(resolver: DidResolver, did: Did, *, trust_signature: bool) -> DidDocument | None:
    try:
        return await resolver.did_document(did, refresh=True)
    except IdentityRefused as refused:
        if trust_signature:
            return None
        cure = "give its document with --did-docs, or take your own word for the repo with --trust-signature"
        raise IdentityRefused(IdentityReason(refused.reason), f"{refused.detail}: {cure}") from None


def _check_signature(signed: SignedCommit, document: DidDocument | None) -> None:
    if document is None or document.signing_key is None:
        raise Refused(FeedReason.NO_SIGNING_KEY, f"{signed.did} has no #atproto key")
    if not signed.is_signed_by(document.signing_key):
        raise Refused(RepoReason.SIGNATURE, f"the commit is not signed by {document.signing_key.did_key}")


async def _read(pieces: AsyncIterator[bytes]) -> tuple[SignedCommit, dict[bytes, bytes]]:
    reader = CarReader(CAR_MAX)
    blocks: dict[bytes, bytes] = {}
    async for piece in pieces:
        blocks.update(reader.feed(piece))
    root = require_root(reader.finish(), blocks)
    return decode_commit(blocks[root.raw]), blocks


def _records(signed: SignedCommit, blocks: dict[bytes, bytes]) -> dict[str, bytes]:
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


def _changes(log: Log, did: Did, records: dict[str, bytes], blocks: dict[bytes, bytes]) -> Iterator[Op]:
    """What turns the log's copy into the file's, in order of paths."""
    known: dict[str, bytes] = {}
    after = ""
    while page := log.paths(did, None, after, _PAGE):
        for path in page:
            held = log.record(did, path)
            if held is not None:
                known[path] = held[0].raw
        after = page[-1]
    for path in sorted(records.keys() | known.keys(), key=str.encode):
        new, old = records.get(path), known.get(path)
        if new == old:
            continue
        before = None if old is None else Cid(old)
        if new is None:
            yield Op("delete", path, None, before, None)
        else:
            yield Op("create" if old is None else "update", path, Cid(new), before, blocks[new])


async def _append(log: Log, head: Head | None, signed: SignedCommit, ops: list[Op]) -> None:
    chunks = list(_chunks(ops)) or [()]
    first: int | None = None
    for number, part in enumerate(chunks):
        diff = Diff(
            did=signed.did,
            base_rev=None if head is None else head.rev,
            base_data=None if head is None else head.data,
            rev=signed.rev,
            commit=signed.cid,
            commit_block=signed.block,
            data=signed.data,
            chunk=number,
            chunks=len(chunks),
            first=first,
            ops=part,
        )
        appended = await log.append(diff)
        if number == 0:
            first = appended.offset


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
