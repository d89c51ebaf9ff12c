"""Read-your-writes where the log is elsewhere: the PDS says the rev, the views say how far they are.

First the `heads` view must hold the rev, which gives its place in `records`; then every view must be complete to it.
Looks at progress are shared by all who wait. Bounded by `api.fresh.WAIT_SECONDS`. Does not own what complete means
(`views.complete`).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

from api.appview.reader import AppViewReader
from api.fresh import WAIT_SECONDS
from api.metrics import HttpMetrics
from api.xrpc import Kind
from schemas.tid import Tid
from schemas.topics import shard_of
from views import heads
from views.complete import complete
from views.store import Store

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.05
_LOOK_SECONDS = 0.02  # between two looks at progress, whoever asks
_KNOWN = 20_000
_REV, _OFFSET = heads.TABLE.index("rev"), heads.TABLE.index("offset")


class Completeness:
    """Up to where all views are complete, by shard, as of the newest look."""

    def __init__(self, store: Store, shards: int) -> None:
        self._store = store
        self._shards = shards
        self._vector = (0,) * shards
        self._looked = 0.0
        self._looking: asyncio.Future[None] | None = None

    async def reach(self, shard: int, offset: int) -> None:
        """Return once all views are complete to `offset`; the caller bounds the time."""
        while not self.holds(shard, offset):
            await self.look()

    def holds(self, shard: int, offset: int) -> bool:
        """As of the newest look."""
        return self._vector[shard] >= offset

    async def look(self) -> None:
        # One that is done may not be joined: to await it does not give the loop a turn, and it saw what was.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
            self._looking.add_done_callback(_heard)
        await asyncio.shield(self._looking)

    async def _look(self) -> None:
        await asyncio.sleep(max(0.0, self._looked + _LOOK_SECONDS - time.monotonic()))
        self._vector = complete(await self._store.progress(), self._shards)
        self._looked = time.monotonic()


def _heard(looking: asyncio.Future[None]) -> None:
    if not looking.cancelled():
        looking.exception()  # who still waits has been told


class ReadSaidRev:
    """One generation's `api.fresh.Fresh`."""

    waits_for = Kind.SERVICE

    def __init__(self, store: Store, shards: int, metrics: HttpMetrics, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self._store = store
        self._shards = shards
        self._completeness = Completeness(store, shards)
        self._seconds = wait_seconds
        self._timed_out = metrics.stale_reads
        # The newest rev that was found complete, of those asked for lately.
        self._known: OrderedDict[str, str] = OrderedDict()

    async def wait(self, viewer: str, said: str | None) -> None:
        if said is None or not Tid.is_valid(said) or self._known.get(viewer, "") >= said:
            return
        try:
            async with asyncio.timeout(self._seconds):
                offset = await self._offset(viewer, said)
                await self._completeness.reach(shard_of(viewer, self._shards), offset)
        except TimeoutError:
            self._timed_out.inc()
            return
        self._remember(viewer, said)

    async def rev(self, viewer: str, appview: AppViewReader) -> str | None:  # noqa: ARG002 - the same store
        """`heads` may be ahead of other views: what it says counts once all are complete to it."""
        (row,) = await self._store.get_many(heads.TABLE, ((viewer,),))
        if row is None:
            return None
        shard, known = shard_of(viewer, self._shards), self._known.get(viewer)
        if known is not None and known >= row[_REV]:
            return known
        if not self._completeness.holds(shard, row[_OFFSET]):
            await self._completeness.look()
        if self._completeness.holds(shard, row[_OFFSET]):
            known = str(row[_REV])
            self._remember(viewer, known)
        return known

    def _remember(self, viewer: str, rev: str) -> None:
        self._known[viewer] = rev
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
