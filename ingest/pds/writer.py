"""Writes to a repo: one at a time an account, answered when the log has them.

1. A write is judged, then waits for the account's lock; the commit is built from the head and appended to the log.
2. The lock is held until the outcome is known. Accepted: the head absorbs it, and only then readers see it.
3. Rejected or unknown: the head is closed, the client gets 503, and the account is read back from the log.
4. A client that goes away does not stop a write that has begun: it runs as a task of its own.
Does not own what a commit is made of (commit_build.py) nor the heads (heads.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
import structlog

from ingest.log import Appender, LogAwayError, Rejected
from ingest.pds.account_file import Root
from ingest.pds.accounts import AccountRow, Accounts
from ingest.pds.blob_index import BlobIndex
from ingest.pds.commit_build import Built, build
from ingest.pds.head import Head
from ingest.pds.heads import Heads
from ingest.pds.refusals import (
    account_deactivated,
    account_not_found,
    account_taken_down,
    blob_not_found,
    invalid_request,
    invalid_swap,
    unavailable,
)
from ingest.pds.settings import PdsSettings
from ingest.pds.writes import Prepared, ValidationStatus, Write, prepare
from schemas import crash
from schemas.cid import Cid
from schemas.data import BlobRef
from schemas.datetimes import from_micros
from schemas.errors import XrpcError
from schemas.lexicon import Catalogue
from schemas.limits import APPLY_WRITES_MAX
from schemas.syntax import AtUri, Did
from schemas.tid import Tid, TidClock

T = TypeVar("T")
_log = structlog.get_logger()


class Written(msgspec.Struct, frozen=True):
    """One write's answer; `cid` is None for a delete."""

    uri: AtUri
    cid: Cid | None
    status: ValidationStatus | None


class Applied(msgspec.Struct, frozen=True):
    """`commit` and `rev` are None when nothing changed."""

    commit: Cid | None
    rev: Tid | None
    results: Sequence[Written]


class Writer:
    """`now` gives unix microseconds; `clock` makes revs and record keys."""

    def __init__(
        self,
        *,
        log: Appender,
        heads: Heads,
        accounts: Accounts,
        blobs: BlobIndex,
        catalogue: Catalogue,
        clock: TidClock,
        now: Callable[[], int],
        settings: PdsSettings,
    ) -> None:
        self._log = log
        self._heads = heads
        self._accounts = accounts
        self._blobs = blobs
        self._catalogue = catalogue
        self._clock = clock
        self._now = now
        self._ahead = settings.clock_ahead * 1_000_000
        self._tasks: set[asyncio.Task[Any]] = set()
        self.rejections = 0
        """Own entries that the log refused: another writer of the account exists, somebody must look."""

    async def apply(
        self, did: Did, writes: Sequence[Write], *, swap_commit: Cid | None = None, validate: bool | None = None
    ) -> Applied:
        """HOT. All of them in one commit, or none. Raises XrpcError."""
        if len(writes) > APPLY_WRITES_MAX:
            raise invalid_request(f"Too many writes. Max: {APPLY_WRITES_MAX}")
        if not writes:
            raise invalid_request("No writes")
        self.writable(did)
        catalogue, clock = self._catalogue, self._clock
        prepared = [prepare(write, catalogue, clock, validate=validate) for write in writes]
        return await self.finish(self._write(did, prepared, swap_commit))

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end whether or not the caller stays."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even when nobody waits any more

    def writable(self, did: Did) -> AccountRow:
        """The account, if it may write. Raises XrpcError with the reference's names."""
        account = self._accounts.get(did)
        if account is None or account.status == "pending":
            raise account_not_found()
        if account.takedown is not None:
            raise account_taken_down()
        if account.status != "active":
            raise account_deactivated()
        return account

    async def _write(self, did: Did, prepared: Sequence[Prepared], swap_commit: Cid | None) -> Applied:
        async with self._heads.locked(did) as head:
            account = self.writable(did)
            root = head.root
            if swap_commit is not None and (root is None or root.cid != swap_commit):
                raise invalid_swap("Commit", None if root is None else root.cid)
            for write in prepared:
                for blob in write.blobs:
                    self._check_blob(did, blob)
            now = self._now()
            rev = self.next_rev(head, now)
            built = build(head, account.key, rev, prepared, from_micros(now))
            if built is not None:
                await self._append(head, built)
        results = [Written(AtUri(f"at://{did}/{write.path}"), write.cid, write.status) for write in prepared]
        if built is None:
            return Applied(None, None, results)
        return Applied(built.cid, rev, results)

    async def _append(self, head: Head, built: Built) -> None:
        """Under the account's lock; afterwards the head says what the log says, or is closed."""
        heads, did = self._heads, head.did
        heads.sent(did)
        try:
            appended = await self._log.append(built.entry)
        except Rejected as rejected:
            heads.settled(did)
            heads.close_account(head)
            self.rejections += 1
            _log.error("the log refused a write of our own", did=did, rev=built.entry.rev, reason=rejected.reason)
            raise unavailable("the account was written to elsewhere; try again") from rejected
        except LogAwayError as away:
            if away.outcome == "absent":
                heads.settled(did)
            else:
                heads.close_account(head)
            raise
        except asyncio.CancelledError:
            heads.close_account(head)
            raise
        except Exception as error:
            # The entry may be in the log: nothing is said of it until the log has been read.
            heads.close_account(head)
            _log.error("the outcome of a write is unknown", did=did, rev=built.entry.rev, error=repr(error))
            raise unavailable("the outcome of this write is not known; read before trying again") from error
        crash.point("pds.after_append_before_ack")
        signed = built.signed
        head.absorb(
            tree=built.tree,
            root=Root(signed.rev, signed.data, built.cid, signed.block, appended.offset),
            nodes=built.nodes,
            records=built.records,
            refs_added=built.refs_added,
            refs_removed=built.refs_removed,
        )
        heads.settled(did, appended.shard, appended.offset)

    def next_rev(self, head: Head, now: int) -> Tid:
        """Above the head's, whatever the clock does. Raises XrpcError 503 when that is too far ahead of it."""
        rev = self._clock.next(None if head.root is None else head.root.rev)
        if rev.micros > now + self._ahead:
            raise unavailable("the repo's last rev lies in the future; try again later")
        return rev

    def _check_blob(self, did: Did, blob: BlobRef) -> None:
        found = self._blobs.get(did, blob.cid)
        if found is None or found.takedown is not None:
            raise blob_not_found(f"Could not find blob: {blob.cid}")
        if blob.mime != found.mime:
            raise XrpcError(
                "InvalidMimeType",
                f"Referenced Mimetype does not match stored blob. Expected: {found.mime}, Got: {blob.mime}",
            )
        if blob.size != found.size:
            raise XrpcError(
                "InvalidSize", f"Referenced Size does not match stored blob. Expected: {found.size}, Got: {blob.size}"
            )

    async def close(self) -> None:
        """Wait for the writes that have begun."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
