"""One backfill while it runs: its host's list is read ahead of the fetching, accounts are tried until they are done.

What may pass (a host that is down, or wants to be left alone) is tried again, later each time. Does not own one account
(`ingest.relay.backfill_account`), which jobs there are (`ingest.relay.backfill`), nor the file.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.log import LogAwayError
from ingest.relay.backfill_account import AccountFetch, Queries, lasts
from ingest.relay.backfill_list import PAGE, PAGE_BYTES, Page, read_page
from ingest.relay.backfill_pace import LaterError, Paces
from ingest.relay.backfill_reasons import HostThrottles
from ingest.relay.backfill_settings import BackfillSettings
from ingest.relay.backfill_store import BackfillStore, JobRow, Waiting
from ingest.relay.reasons import RelayReason
from ingest.relay.source import Source
from schemas.errors import Refused

TRIES, TRIES_PATIENT = 6, 30
AHEAD = 100_000  # accounts that wait before the list is read on
_LAST_PAUSE = 120.0  # seconds between tries
_LOOKED_AT = 32  # accounts at once; fewer are being fetched
_CURSORS = 100_000  # remembered, so that a list that goes in a ring ends


@dataclass(frozen=True, slots=True)
class JobParts:
    """What all jobs share."""

    store: BackfillStore
    fetch: AccountFetch
    queries: Queries
    paces: Paces
    settings: BackfillSettings
    became: Counter[str] = field(default_factory=Counter)
    """Accounts that are done since the start, by what became of them."""


class Job:
    """`run` returns when every account is done. `source` gives who speaks for the accounts, as it is known now."""

    def __init__(self, parts: JobParts, row: JobRow, source: Callable[[], Source]) -> None:
        self.row = row
        self.waiting = parts.store.waiting(row.id)
        self.task: asyncio.Task[None] | None = None
        self._parts = parts
        self._source = source
        self._listed = row.listed
        self._under_way: set[int] = set()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._rests_until = 0

    async def run(self) -> None:
        """An error of ours is raised."""
        async with asyncio.TaskGroup() as tasks:
            if self.row.host and not self._listed:
                tasks.create_task(self._list())
            while True:
                self._changed.clear()
                for account in self._due():
                    self._under_way.add(account.id)
                    tasks.create_task(self._account(account))
                if self._listed and not self.waiting:
                    return
                try:
                    async with asyncio.timeout(self._pause()):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def came(self, count: int) -> None:
        """So many accounts more are in the file."""
        self.waiting += count
        if self.waiting >= AHEAD:
            self._room.clear()
        self._changed.set()

    def ends(self, trouble: str | None = None) -> None:
        """No account comes any more; `trouble` says that this is too early."""
        self._parts.store.listed(self.row.id, trouble)
        self._listed = True
        self._changed.set()

    # its accounts

    def _due(self) -> list[Waiting]:
        room = _LOOKED_AT - len(self._under_way)
        if room <= 0 or _clock() < self._rests_until:
            return []
        rows = self._parts.store.due(self.row.id, _clock(), _LOOKED_AT)
        return [account for account in rows if account.id not in self._under_way][:room]

    def _pause(self) -> float | None:
        """Seconds until the next account is due, of those whose time has not come."""
        now = _clock()
        if now < self._rests_until:
            return max(0.001, (self._rests_until - now) / 1e6)
        due = self._parts.store.next_due(self.row.id, now)
        return None if due is None else max(0.001, (due - now) / 1e6)

    async def _account(self, account: Waiting) -> None:
        first = self._parts.settings.first_pause
        try:
            became = await self._parts.fetch.bring(self._source(), account)
        except LaterError as later:
            self._later(account, later.seconds, account.tries)
        except LogAwayError:
            self._later(account, first, account.tries)
        except HostThrottles as throttles:
            # The host is left alone as a whole (`Paces.pause`), and this account comes again with it.
            self._failed(account, throttles, TRIES_PATIENT, 0.0)
        except Refused as refused:
            if refused.reason is RelayReason.CATCHING_UP:
                self._later(account, first, account.tries)
            elif isinstance(refused, IdentityRefused) and refused.reason is IdentityReason.BUSY:
                self._rest(account, max(first, refused.retry_after or 0.0))
            else:
                self._failed(account, refused, _tries(account, refused), first)
        else:
            self._done(account, became)
        finally:
            self._under_way.discard(account.id)
            self._changed.set()

    def _failed(self, account: Waiting, refused: Refused, tries: int, pause: float) -> None:
        if account.tries + 1 >= tries:
            self._done(account, refused.reason.value, refused.detail)
        else:
            self._later(account, _wait(pause, account.tries), account.tries + 1)

    def _rest(self, account: Waiting, seconds: float) -> None:
        """The did:plc directory is not asked for now: no account's fault, and whoever is next would hear the same."""
        self._rests_until = max(self._rests_until, _clock() + int(seconds * 1e6))
        self._later(account, seconds, account.tries)

    def _later(self, account: Waiting, seconds: float, tries: int) -> None:
        self._parts.store.later(account, _clock() + int(seconds * 1e6), tries)

    def _done(self, account: Waiting, became: str, detail: str | None = None) -> None:
        self._parts.store.done(self.row.id, account, became, detail)
        self._parts.became[became] += 1
        self.waiting -= 1
        if self.waiting < AHEAD:
            self._room.set()

    # its list

    async def _list(self) -> None:
        row, store = self.row, self._parts.store
        cursor, tries = row.cursor, 0
        seen: set[str] = set()
        while True:
            await self._room.wait()
            try:
                page = await self._page(cursor)
            except LaterError as later:
                await asyncio.sleep(later.seconds)
                continue
            except Refused as refused:
                tries += 1
                if tries >= (TRIES_PATIENT if isinstance(refused, HostThrottles) else TRIES) or lasts(refused):
                    self.ends(f"the list of {row.host} ended early: {refused}")
                    return
                await asyncio.sleep(_wait(self._parts.settings.first_pause, tries))
                continue
            tries = 0
            self.came(store.add(row.id, page.accounts, cursor=page.cursor, bad=page.bad))
            if page.cursor is None:
                self.ends()
                return
            if page.cursor in seen or not page.accounts or len(seen) >= _CURSORS:
                self.ends(f"the list of {row.host} goes in a ring, or has no end: cursor {page.cursor[:100]}")
                return
            cursor = page.cursor
            seen.add(cursor)

    async def _page(self, cursor: str | None) -> Page:
        url, parts = self.row.url, self._parts
        parts.fetch.allowed(url)
        params = {"limit": str(PAGE)} if cursor is None else {"limit": str(PAGE), "cursor": cursor}
        try:
            async with parts.paces.turn(url):
                answer = await parts.queries.query(url, "com.atproto.sync.listRepos", params, PAGE_BYTES)
        except HostThrottles as throttles:
            parts.paces.pause(url, throttles.retry_after)
            raise
        return read_page(answer)


def _tries(account: Waiting, refused: Refused) -> int:
    """How often it is tried: not again where that cannot help; longer where the fault is a directory's, as of all."""
    if lasts(refused):
        return 0
    of_directory = isinstance(refused, IdentityRefused) and account.did.method == "plc"
    return TRIES_PATIENT if of_directory else TRIES


def _wait(first: float, tries: int) -> float:
    jitter = 0.5 + random.random()  # noqa: S311 - nothing to guess
    return min(_LAST_PAUSE, first * 2.0**tries) * jitter


def _clock() -> int:
    """Microseconds of the loop's clock."""
    return int(asyncio.get_running_loop().time() * 1e6)
