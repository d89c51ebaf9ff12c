"""A mirror of a did:plc directory: follows its /export page by page, and answers for DIDs while it is near its end.

- One request at a time, at most `rate` a second. Pages overlap, as operations may be seen out of the order of their
  times (`plc_mirror_store.OVERLAP_MS`); what comes again is told apart by its CID.
- The directory failing is waited out, longer each time, or as long as it says.
- A DID is answered for while the mirror's lag is below a setting, and its operations held; else the directory is asked.

Does not own what is verified and kept (`plc_mirror_store.py`), nor HTTP (`plc_client.py`).
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import time
from typing import Any, Protocol

import structlog

from ingest.identity import plc
from ingest.identity.plc_mirror_store import OVERLAP_MS, MirrorStore
from ingest.identity.reasons import IdentityReason, IdentityRefused
from schemas.syntax import Did

PAGE = 1_000  # what directories give at most
POLL_SECONDS = 3.0  # between requests once there is no more, unless somebody waits
WAIT_SECONDS = 10.0
WAITERS_MAX = 10_000
_FIRST_PAUSE, _LAST_PAUSE, _LONGEST_SAID = 1.0, 60.0, 300.0

_log = structlog.get_logger()


class Export(Protocol):
    async def export(self, after: str, count: int) -> list[bytes]:
        """Lines of operations after a time. Raises IdentityRefused."""
        ...


class PlcMirror:
    """`ingest.identity.resolver.Mirror`; `run` until cancelled. `now` gives unix seconds."""

    def __init__(
        self,
        store: MirrorStore,
        directory: Export,
        *,
        rate: float = 1.0,
        lag: float = 60.0,
        page: int = PAGE,
        now: Callable[[], float] = time,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`rate` is requests a second, `lag` the seconds behind the directory up to which it answers."""
        self.store = store
        self._directory = directory
        self._between = 1.0 / rate
        self._believed = lag
        self._page = page
        self._now = now
        self._pause = pause
        self._thread = ThreadPoolExecutor(1, "plc-mirror")
        self._reached = store.cursor / 1000
        self._at_end = store.cursor > 0
        self._stuck = False
        self._failures = 0
        self._waiting: list[asyncio.Future[bool]] = []
        self._woken = asyncio.Event()
        self.failed: Counter[str] = Counter()
        """Requests that brought no page, by reason."""
        self.hits = 0
        """DIDs answered for."""

    @property
    def lag(self) -> float:
        """Seconds: what is older than so much has been taken."""
        return max(0.0, self._now() - self._reached)

    def document(self, did: Did) -> dict[str, Any] | None:
        """None: ask the directory. Raises IdentityRefused(TOMBSTONED)."""
        if self.lag > self._believed:
            return None
        found = self.store.document(did)
        self.hits += found is not None
        return found

    async def caught_up(self) -> bool:
        """Whether all that the directory had at the time of the call is here now; waits for the next page, bounded."""
        if self._failures or len(self._waiting) >= WAITERS_MAX:
            return False
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(told)
        self._woken.set()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await told
        except TimeoutError:
            return False

    async def run(self) -> None:
        """Follow the directory; an error of ours ends it and is raised."""
        while True:
            waiting, self._waiting = self._waiting, []
            reached = False
            try:
                reached = await self.step()
            except IdentityRefused as refused:
                await self._fail(refused, waiting)
                continue
            finally:
                for told in waiting:
                    if not told.done():
                        told.set_result(reached)
            await self._pause(self._between)
            if reached and not self._waiting and self._between < POLL_SECONDS:
                self._woken.clear()
                await self._idle(POLL_SECONDS - self._between)

    async def step(self) -> bool:
        """Take one page; whether it was the last one there is. Raises IdentityRefused."""
        store, began = self.store, self._now()
        behind = (OVERLAP_MS if self._at_end else 1) if not self._stuck else 0
        after = plc.iso(max(0, store.cursor - behind))
        lines = await self._directory.export(after, self._page)
        new = await asyncio.get_running_loop().run_in_executor(self._thread, store.take, lines)
        if self._failures:
            _log.info("the did:plc directory's export answers again")
        self._failures = 0
        self._at_end = len(lines) < self._page
        # A whole page of one millisecond that is known: go past it.
        self._stuck = not self._at_end and not new and behind == 1
        self._reached = began if self._at_end else max(self._reached, store.cursor / 1000)
        return self._at_end

    def close(self) -> None:
        """After `run` has been cancelled: the page under way is finished."""
        self._thread.shutdown()
        self.store.close()

    async def _fail(self, refused: IdentityRefused, waiting: list[asyncio.Future[bool]]) -> None:
        self.failed[IdentityReason(refused.reason).value] += 1
        if not self._failures:
            _log.warning("the did:plc directory's export fails: the mirror waits", cause=str(refused)[:200])
        pause = min(_LAST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures, 10)) * (0.5 + random.random())  # noqa: S311
        self._failures += 1
        for told in (*waiting, *self._waiting):
            if not told.done():
                told.set_result(False)
        self._waiting = []
        await self._pause(max(pause, self._between, min(refused.retry_after or 0.0, _LONGEST_SAID)))

    async def _idle(self, seconds: float) -> None:
        """Until it is time to look again, or somebody waits."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
