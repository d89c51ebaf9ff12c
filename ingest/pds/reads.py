"""What a repo shows: records, collections, blobs it refers to, blocks and proofs.

Readers see the head and its overlay: what is durable in the log, never what is in flight. Does not own whether the
account may be shown (hosted.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ingest.log import RepoIndex
from ingest.pds.accounts import Accounts
from ingest.pds.blob_index import BlobIndex
from ingest.pds.exports import blocks_car, record_proof, repo_car
from ingest.pds.heads import Heads
from ingest.pds.refusals import invalid_record, invalid_request, record_not_found, repo_not_found
from schemas.cbor import CborRefused
from schemas.cid import Cid
from schemas.data import record_to_json
from schemas.errors import Refused
from schemas.syntax import AtUri, Did

_PAGE = 200


@dataclass(frozen=True, slots=True)
class RecordView:
    """`value` is the record's JSON, ready to send."""

    uri: AtUri
    cid: Cid
    value: bytes


@dataclass(frozen=True, slots=True)
class MissingBlob:
    cid: Cid
    uri: AtUri


@dataclass(frozen=True, slots=True)
class Counts:
    """For checkAccountStatus."""

    nodes: int
    records: int
    expected_blobs: int
    imported_blobs: int


class Reads:
    def __init__(self, foreign: RepoIndex | None, heads: Heads, accounts: Accounts, blobs: BlobIndex) -> None:
        self._foreign = foreign
        self._heads = heads
        self._accounts = accounts
        self._blobs = blobs

    async def record(self, did: Did, path: str, cid: Cid | None) -> RecordView:
        """Raises XrpcError RecordNotFound, also when the record has another CID than `cid`.

        InvalidRecord for bytes that JSON cannot show.
        """
        uri = AtUri(f"at://{did}/{path}")
        stored = (await self._heads.get(did)).record(path)
        if stored is None or (cid is not None and stored.cid != cid) or self._accounts.record_takedown(uri):
            raise record_not_found(uri)
        return record_view(uri, stored.cid, stored.value)

    def foreign_record(self, did: Did, path: str, cid: Cid | None) -> RecordView:
        """A record of an account that is not ours, as the log's index has it. Raises as `record`."""
        uri, index = AtUri(f"at://{did}/{path}"), self._foreign
        if index is None:
            raise record_not_found(uri)
        known, found = index.head(did), index.record(did, path)
        if known is None or known.effective_status != "active" or found is None or cid not in (None, found[0]):
            raise record_not_found(uri)
        return record_view(uri, found[0], found[1])

    async def held(self, did: Did, path: str) -> Cid | None:
        stored = (await self._heads.get(did)).record(path)
        return None if stored is None else stored.cid

    def foreign_held(self, did: Did, path: str) -> Cid | None:
        found = None if self._foreign is None else self._foreign.record(did, path)
        return None if found is None else found[0]

    async def records(
        self, did: Did, collection: str, *, limit: int, cursor: str | None, reverse: bool
    ) -> tuple[list[RecordView], str | None]:
        """Newest rkey first unless `reverse`; the cursor is the last rkey of the page before.

        What JSON cannot show is left out: getRecord says so, and the CARs have it.
        """
        head = await self._heads.get(did)
        if head.overlay is not None:
            await self._heads.flush(head)
        after, before = (cursor, None) if reverse else (None, cursor)
        rows = head.file.records(collection, after=after, before=before, limit=limit, newest_first=not reverse)
        views = []
        for path, cid, value in rows:
            uri = AtUri(f"at://{did}/{path}")
            if self._accounts.record_takedown(uri) is None:
                with contextlib.suppress(CborRefused):
                    views.append(RecordView(uri, cid, record_to_json(value)))
        return views, rows[-1][0].rpartition("/")[2] if rows else None

    async def collections(self, did: Did) -> list[str]:
        head = await self._heads.get(did)
        if head.overlay is not None:
            await self._heads.flush(head)
        return head.file.collections()

    async def counts(self, did: Did) -> Counts:
        head = await self._heads.get(did)
        if head.overlay is not None:
            await self._heads.flush(head)
        nodes, records, blobs = head.file.counts()
        return Counts(nodes + 1, records, blobs, self._blobs.count(did))  # one more: the commit

    async def blobs(
        self, did: Did, *, since: str | None, cursor: str | None, limit: int
    ) -> tuple[list[Cid], str | None]:
        """Blobs that records newer than `since` refer to, in order of their CIDs."""
        head = await self._heads.get(did)
        if head.overlay is not None:
            await self._heads.flush(head)
        rows = head.file.blob_refs(_after(cursor), since, limit)
        cids = [Cid(raw) for raw, _ in rows]
        return cids, str(cids[-1]) if len(cids) == limit else None

    async def missing_blobs(self, did: Did, *, cursor: str | None, limit: int) -> tuple[list[MissingBlob], str | None]:
        """Blobs that records refer to and that were never uploaded here."""
        head = await self._heads.get(did)
        if head.overlay is not None:
            await self._heads.flush(head)
        after, found = _after(cursor), list[MissingBlob]()
        while rows := head.file.blob_refs(after, None, _PAGE):
            for raw, path in rows:
                if self._blobs.get(did, Cid(raw)) is None:
                    found.append(MissingBlob(Cid(raw), AtUri(f"at://{did}/{path}")))
                    if len(found) == limit:
                        return found, str(found[-1].cid)
            after = rows[-1][0]
        return found, None

    async def car(self, did: Did, since: str | None) -> AsyncIterator[bytes]:
        """The whole repo, or what is new since a rev. Raises XrpcError RepoNotFound before the first piece."""
        head = await self._heads.get(did)
        if head.root is None:
            raise repo_not_found(did)
        if head.overlay is not None:
            await self._heads.flush(head)
        return repo_car(head.file.snapshot(), did, since)

    async def blocks(self, did: Did, cids: Sequence[Cid]) -> tuple[bytes, list[Cid]]:
        return blocks_car(await self._heads.get(did), cids)

    async def proof(self, did: Did, path: str) -> bytes:
        return record_proof(await self._heads.get(did), path)


def record_view(uri: AtUri, cid: Cid, block: bytes) -> RecordView:
    """Raises XrpcError InvalidRecord for bytes that JSON cannot show."""
    try:
        return RecordView(uri, cid, record_to_json(block))
    except CborRefused as refused:
        raise invalid_record(uri, refused.detail) from refused


def _after(cursor: str | None) -> bytes:
    if cursor is None:
        return b""
    try:
        return Cid.parse(cursor).raw
    except Refused:
        raise invalid_request("Malformed cursor") from None
