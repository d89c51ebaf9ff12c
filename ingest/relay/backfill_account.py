"""One account of a backfill: whose it is, whether the log has it already, else its repo by way of a resync.

What an account says while its repo is fetched is held and taken afterwards (`ingest.relay.resync`), so the stream and
the backfill meet without a gap, and what both bring is in the log once. Does not own another try
(`ingest.relay.backfill`), nor order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from ingest.identity.reasons import IdentityRefused
from ingest.log import Head, LogAwayError
from ingest.relay.backfill_list import read_latest
from ingest.relay.backfill_pace import Paces
from ingest.relay.backfill_reasons import BackfillReason, HostThrottles
from ingest.relay.backfill_store import Waiting
from ingest.relay.intake_ports import IntakeLog
from ingest.relay.judge import OPEN, Judge
from ingest.relay.lines import Lines
from ingest.relay.reasons import RelayReason
from ingest.relay.resync import Resync
from ingest.relay.source import Source
from ingest.repo.reasons import RepoReason
from schemas.entries import Account
from schemas.errors import Refused
from schemas.syntax import Did
from schemas.tid import Tid

FETCHED, CURRENT, INACTIVE = OUTCOMES = ("fetched", "current", "inactive")
"""What becomes of an account that does not fail: its repo was fetched; the log had it; there is none to be had."""

_LATEST_BYTES = 16_384
# Reasons that another try would meet again. The others may pass: a host that is down, a copy that lags.
_LASTING = frozenset(
    {
        RelayReason.HOSTED_HERE,
        RelayReason.HOST_ACCOUNTS,
        RelayReason.HOST_BANNED,
        RelayReason.HOST_NO_PDS,
        RelayReason.HOST_OURS,
        RelayReason.HOST_SYNTAX,
        RelayReason.NOT_AUTHORITATIVE,
        BackfillReason.REPO_GONE,
        RepoReason.CAR_SIZE,
    }
)

T = TypeVar("T")


class Queries(Protocol):
    async def query(self, url: str, method: str, params: dict[str, str], most: int) -> Any:
        """A host's JSON answer, of at most `most` bytes. Raises Refused (HOST_*), HostThrottles."""
        ...


def lasts(refused: Refused) -> bool:
    """Whether another try would be refused again."""
    if isinstance(refused, IdentityRefused):
        return not refused.transient
    return refused.reason in _LASTING


class AccountFetch:
    """`allowed` raises Refused for a host that is not to be asked; `at_once` is how many repos may be in memory."""

    def __init__(
        self,
        log: IntakeLog,
        judge: Judge,
        lines: Lines,
        resync: Resync,
        *,
        queries: Queries,
        paces: Paces,
        allowed: Callable[[str], object],
        at_once: int,
    ) -> None:
        self._log = log
        self._judge = judge
        self._lines = lines
        self._resync = resync
        self._queries = queries
        self._paces = paces
        self.allowed = allowed
        self._room = asyncio.Semaphore(at_once)

    async def bring(self, source: Source, account: Waiting) -> str:
        """One of OUTCOMES. Raises Refused, HostThrottles, LaterError."""
        did = account.did
        if account.status not in OPEN:
            await self._in_line(did, lambda: self._close(source, account))
            return INACTIVE
        head = self._log.head(did)
        if head is not None and head.effective_status not in OPEN:
            return INACTIVE
        if account.rev is not None and stands_at(head, account.rev):
            return CURRENT
        document = await self._in_line(did, lambda: self._judge.meet(source, did))
        url = document.pds
        if url is None:
            raise Refused(RelayReason.HOST_NO_PDS, f"{did} names no host to fetch its repo from")
        self.allowed(url)
        try:
            if account.rev is None and head is not None and head.data is not None and not head.partial:
                async with self._paces.turn(url):
                    answer = await self._queries.query(
                        url, "com.atproto.sync.getLatestCommit", {"did": did}, _LATEST_BYTES
                    )
                if stands_at(self._log.head(did), read_latest(answer)):
                    return CURRENT
            async with self._paces.turn(url), self._room:
                # It may have caught up by itself while it waited for its turn.
                if account.rev is not None and stands_at(self._log.head(did), account.rev):
                    return CURRENT
                await self._resync.fetch(did, url)
        except HostThrottles as throttles:
            self._paces.pause(url, throttles.retry_after)
            raise
        except Refused as refused:
            # One that cannot be reached costs nothing to ask: its accounts use up their tries, and the job ends.
            if refused.reason is RelayReason.REPO_SLOW:
                self._paces.made_us_wait(url)
            raise
        self._paces.gave(url)
        return FETCHED

    async def _close(self, source: Source, account: Waiting) -> None:
        """Its host says that it is not active. Of an account that the log knows its stream has told, or will."""
        did = account.did
        if account.status == "deleted" or self._log.head(did) is not None:
            return
        await self._judge.meet(source, did)
        await self._log.append(Account(did, account.status))

    async def _in_line(self, did: Did, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, done in the account's line; what it refuses is no fault of the line."""
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def told() -> None:
            try:
                found = await work()
            except (Refused, LogAwayError) as refused:
                if not result.done():
                    result.set_exception(refused)
            else:
                if not result.done():
                    result.set_result(found)

        self._lines.in_line(did, told())
        return await result


def stands_at(head: Head | None, rev: Tid) -> bool:
    """Whether the log has the whole repo, of that rev or a later one."""
    return head is not None and head.rev is not None and head.data is not None and head.rev >= rev and not head.partial
