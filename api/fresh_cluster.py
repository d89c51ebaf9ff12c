"""Read-your-writes where the log is elsewhere: the PDS says the rev, the views say how far they are.

First the `heads` view must hold the rev, which gives its place in `records`; then every view must be complete to it.
Looks at progress are shared by all who wait. Bounded by `api.fresh.WAIT_SECONDS`. From the moment at which all views
were found to hold the rev, the viewer is shown nothing older (`ReadSaidRev.since`), whatever is kept for others. Does
not own what complete means (`views.complete`) nor what is kept (`views.store_recent`).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

from api.appview.reader import AppViewReader
from api.fresh import WAIT_SECONDS
from api.metrics import HttpMetrics
from api.xrpc import Kind
from schemas.tid import Tid
from schemas.topics import shard_of
from views import heads
from views.complete import complete, complete_operations
from views.store import Store

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.05
_LOOK_SECONDS = 0.02  # between two looks at progress, whoever asks
_LOOKS = 64  # remembered: those of a second and more
_KNOWN = 20_000
_REV, _OFFSET = heads.TABLE.index("rev"), heads.TABLE.index("offset")


class Completeness:
    """Up to where all views are complete, by shard, as of the newest looks. `now` is the clock of moments."""

    def __init__(self, store: Store, shards: int, now: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._shards = shards
        self._now = now
        # When a look ended, and what it saw: oldest first. What is read from then on holds that.
        self._looks: deque[tuple[float, tuple[int, ...]]] = deque([(0.0, (0,) * shards)], _LOOKS)
        self._operations = (0,) * shards
        self._looked = 0.0
        self._looking: asyncio.Future[None] | None = None

    async def reach(self, shard: int, offset: int) -> float:
        """Return once all views are complete to `offset`, and since when; the caller bounds the time."""
        while True:
            moment = self.since(shard, offset)
            if moment is not None:
                return moment
            await self.look()

    def since(self, shard: int, offset: int) -> float | None:
        """When all views were first found complete to `offset`, as far as is remembered; None if they are not yet."""
        if self._looks[-1][1][shard] < offset:
            return None
        return next(moment for moment, vector in self._looks if vector[shard] >= offset)

    async def reach_operation(self, shard: int, offset: int) -> None:
        """Return once all views show `operations` up to `offset`; what is read of them is never kept."""
        while self._operations[shard] < offset:
            await self.look()

    async def look(self) -> None:
        # One that is done may not be joined: to await it does not give the loop a turn, and it saw what was.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
            self._looking.add_done_callback(_heard)
        await asyncio.shield(self._looking)

    async def _look(self) -> None:
        await asyncio.sleep(max(0.0, self._looked + _LOOK_SECONDS - time.monotonic()))
        progress = await self._store.progress()
        vector = complete(progress, self._shards)
        self._operations = complete_operations(progress, self._shards)
        self._looked = time.monotonic()
        self._looks.append((self._now(), vector))


def _heard(looking: asyncio.Future[None]) -> None:
    if not looking.cancelled():
        looking.exception()  # who still waits has been told


class _Known(NamedTuple):
    """Of a viewer who asked lately."""

    rev: str
    """The newest that was found complete; empty for none."""
    since: float
    """What is read from this moment on holds it."""


class ReadSaidRev:
    """One generation's `api.fresh.Fresh`. `store` keeps nothing; `now` is the clock of who does."""

    waits_for = Kind.SERVICE

    def __init__(
        self,
        store: Store,
        shards: int,
        metrics: HttpMetrics,
        *,
        wait_seconds: float = WAIT_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._shards = shards
        self._completeness = Completeness(store, shards, now)
        self._seconds = wait_seconds
        self._now = now
        self._timed_out = metrics.stale_reads
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def wait(self, viewer: str, said: str | None) -> None:
        if said is None or not Tid.is_valid(said) or self._newest(viewer) >= said:
            return
        try:
            async with asyncio.timeout(self._seconds):
                offset = await self._offset(viewer, said)
                moment = await self._completeness.reach(shard_of(viewer, self._shards), offset)
        except TimeoutError:
            self._timed_out.inc()
            # Then it is shown what there is, and not what was there for others before.
            self._remember(viewer, self._newest(viewer), self._now())
            return
        self._remember(viewer, said, moment)

    async def written(self, shard: int, offset: int) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._completeness.reach_operation(shard, offset)
        except TimeoutError:
            self._timed_out.inc()

    async def rev(self, viewer: str, said: str | None, appview: AppViewReader) -> str | None:  # noqa: ARG002
        """`heads` may be ahead of other views: what it says counts once all are complete to it.

        A rev that was said, by the host of the account, and is held is the newest there is.
        """
        known = self._newest(viewer)
        if said is not None and known >= said and known:
            return known
        (row,) = await self._store.get_many(heads.TABLE, ((viewer,),))
        if row is None:
            return None
        if known >= row[_REV]:
            return known
        shard, offset = shard_of(viewer, self._shards), row[_OFFSET]
        moment = self._completeness.since(shard, offset)
        if moment is None:
            await self._completeness.look()
            moment = self._completeness.since(shard, offset)
        if moment is not None:
            known = str(row[_REV])
            self._remember(viewer, known, moment)
        return known or None

    def since(self, viewer: str) -> float | None:
        known = self._known.get(viewer)
        return None if known is None else known.since

    def _newest(self, viewer: str) -> str:
        known = self._known.get(viewer)
        return "" if known is None else known.rev

    def _remember(self, viewer: str, rev: str, since: float) -> None:
        known = self._known.get(viewer)
        # Of a write that was waited for in vain no look says since when it is held.
        self._known[viewer] = _Known(rev, since if known is None else max(since, known.since))
        self._known.move_to_end(viewer)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    async def _offset(self, viewer: str, said: str) -> int:
        """Where in `records` the rev, or one above it, stands."""
        pause = _FIRST_PAUSE
        while True:
            (row,) = await self._store.get_many(heads.TABLE, ((viewer,),))
            if row is not None and row[_REV] >= said:
                return int(row[_OFFSET])
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
