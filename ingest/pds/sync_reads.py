"""What com.atproto.sync shows of the accounts here: which there are, their state, repos and blobs.

`as_owner` shows what is hidden from others. Does not own the forms that are shown (reads.py, blobs.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ingest.log import AccountLog
from ingest.pds.accounts import AccountRow, Accounts
from ingest.pds.answers import RepoStatus
from ingest.pds.blobs import Blobs, OpenBlob
from ingest.pds.hosted import Hosted
from ingest.pds.reads import Reads
from ingest.pds.refusals import invalid_request, repo_not_found
from schemas.cid import Cid
from schemas.syntax import Did


class SyncReads:
    def __init__(self, log: AccountLog, accounts: Accounts, hosted: Hosted, reads: Reads, blobs: Blobs) -> None:
        self._log = log
        self._accounts = accounts
        self._hosted = hosted
        self._reads = reads
        self._blobs = blobs

    def repo_status(self, did: Did) -> RepoStatus:
        """Raises XrpcError RepoNotFound."""
        row = self._hosted.get(did)
        if row is None:
            raise repo_not_found(did)
        return self._status(row)

    async def latest_commit(self, did: Did, *, as_owner: bool = False) -> RepoStatus:
        """`rev` and `commit` are set. Raises XrpcError RepoNotFound, RepoDeactivated, RepoTakendown."""
        status = self._status(self._hosted.shown(did, as_owner=as_owner))
        if status.commit is None:
            raise repo_not_found(did)
        return status

    def list_repos(self, *, cursor: str | None = None, limit: int = 500) -> tuple[list[RepoStatus], str | None]:
        """In order of creation, inactive ones too; the cursor is "microseconds::did"."""
        page = self._accounts.page(_position(cursor), limit)
        rows = [row for _, did in page if (row := self._accounts.get(did)) is not None]
        last = f"{page[-1][0]}::{page[-1][1]}" if page else None
        return [self._status(row) for row in rows], last

    async def repo_car(self, did: Did, since: str | None = None, *, as_owner: bool = False) -> AsyncIterator[bytes]:
        return await self._reads.car(self._hosted.shown(did, as_owner=as_owner).did, since)

    async def blocks(self, did: Did, cids: Sequence[Cid], *, as_owner: bool = False) -> tuple[bytes, list[Cid]]:
        """A CAR of those blocks, and which are not there."""
        return await self._reads.blocks(self._hosted.shown(did, as_owner=as_owner).did, cids)

    async def record_proof(self, did: Did, collection: str, rkey: str, *, as_owner: bool = False) -> bytes:
        """A CAR that proves that a record is there, or that it is not."""
        return await self._reads.proof(self._hosted.shown(did, as_owner=as_owner).did, f"{collection}/{rkey}")

    async def list_blobs(
        self,
        did: Did,
        *,
        since: str | None = None,
        cursor: str | None = None,
        limit: int = 500,
        as_owner: bool = False,
    ) -> tuple[list[Cid], str | None]:
        row = self._hosted.shown(did, as_owner=as_owner)
        return await self._reads.blobs(row.did, since=since, cursor=cursor, limit=limit)

    async def open_blob(self, did: Did, cid: Cid, *, as_owner: bool = False) -> OpenBlob:
        """Raises XrpcError BlobNotFound, also for temporary blobs of others' accounts."""
        return self._blobs.open(self._hosted.shown(did, as_owner=as_owner).did, cid)

    def _status(self, row: AccountRow) -> RepoStatus:
        known = self._log.head(row.did)
        rev, commit = (None, None) if known is None else (known.rev, known.commit)
        return RepoStatus(row.did, row.active, None if row.active else row.effective_status, rev, commit)


def _position(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return (-1, "")
    created, _, did = cursor.partition("::")
    if not created.isdigit() or not Did.is_valid(did):
        raise invalid_request("Malformed cursor")
    return (int(created), did)
