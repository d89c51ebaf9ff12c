"""The processors of one process: follows the log over all its shards and keeps the views up with it.

A batch is whatever is there, up to a bound: one entry when idle, hundreds under load. Each is one transaction of the
views' store; a crash at any point leaves the views at the end of some batch, and the log is read on from there.
An exception is ours (invariant 3): the runner stops, says so to whoever waits, and `failure` keeps the process unready.
Does not own the log, the store or the stages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

import structlog

from ingest.log import ViewSource
from processors.batch import Stages
from processors.decode import Decoder
from processors.plan import Plan
from schemas import crash
from schemas.errors import InvariantError
from schemas.lexicon import load
from schemas.topics import OPERATIONS, RECORDS
from views.store import Store
from views.view import FanoutSettings, View

_log = structlog.get_logger(__name__)

_BATCH = 2_000  # entries
_FAN_ROWS = 50_000  # timeline rows from which a batch takes no more input
_CHUNK = 160  # entries between two looks at that bound; fewer while each fans out far
# Batches begin at least this far apart, so that many small writes share a commit; the first after a rest is at once.
_APART_SECONDS = 0.004
_BEHIND = 200  # entries from which there is no waiting for more


Place = tuple[str, int]  # topic, shard


class RunnerStoppedError(InvariantError):
    """The views no longer follow the log: the cause is in the log of the process; mend it and start again."""


class EmbeddedRunner:
    """`start`, then `reached` and `process_all` wait for the views; `stop` ends between two batches."""

    def __init__(
        self,
        log: ViewSource,
        store: Store,
        views: Sequence[View],
        settings: FanoutSettings | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
        *,
        skipped: Mapping[Place, Collection[int]] | None = None,
    ) -> None:
        """`skipped`: by topic and shard, the offsets that an operator had skipped (`views.generations.Skip`)."""
        self._log = log
        self._skipped = skipped or {}
        self._store = store
        self._plan = Plan(views)
        self.decoder = Decoder(load(), self._plan.collections)
        self._settings = settings or FanoutSettings()
        self._on_failure = on_failure
        self._shards = log.shards
        self._places = [(topic, shard) for topic in (RECORDS, OPERATIONS) for shard in range(self._shards)]
        self._reached: dict[Place, int] = dict.fromkeys(self._places, 0)
        self._newest = [0] * self._shards
        self._stages: Stages | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._wake: asyncio.Future[Any] | None = None
        self._waiters: list[tuple[Place, int, asyncio.Future[None]]] = []
        self._held: Mapping[Place, int] | None = None
        self._released = asyncio.Event()
        self._batching = asyncio.Lock()
        self._fan_out = 0.0  # timeline rows an entry, lately
        self.failure: BaseException | None = None
        self.entries = 0
        """Entries taken, ever."""
        self.batches = 0
        self.on_visible: Callable[[list[int]], None] | None = None
        """Told the log times of a batch's entries once readers see them. Must not raise."""

    async def start(self) -> None:
        progress = await self._store.progress()
        self._reached = {place: progress.vector.get(place, 0) for place in self._places}
        for place, reached in self._reached.items():
            if reached > self._log_end(place):
                raise InvariantError(
                    f"the views have seen {place[0]}[{place[1]}]@{reached}, the log ends at {self._log_end(place)}:"
                    " they belong to another log; move them away and start, they are built again"
                )
        self._stages = Stages(
            self._plan, self.decoder, self._store, progress, shards=self._shards, settings=self._settings
        )
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._stopping = True
        if self._wake is not None:
            self._wake.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])
        if self._stages is not None:
            self._stages.end()

    @property
    def ready(self) -> bool:
        return self._task is not None and self.failure is None

    @property
    def stages(self) -> Stages:
        if self._stages is None:
            raise InvariantError("the runner has not been started")
        return self._stages

    def vector(self) -> dict[tuple[str, int], int]:
        """Up to which offset of each shard of `records` and `operations` all views are complete."""
        return dict(self._reached)

    def reached_of(self, topic: str) -> dict[int, int]:
        """The part of the vector that is of one topic, by shard."""
        return {shard: reached for (each, shard), reached in self._reached.items() if each == topic}

    def newest_times(self) -> list[int]:
        """Log time of the newest entry that the views have seen, by shard; 0 when none since the start."""
        return list(self._newest)

    def behind(self) -> int:
        """Entries in the log that the views have not seen (an upper bound: compaction leaves gaps)."""
        return sum(self._log_end(place) - reached for place, reached in self._reached.items())

    async def reached(
        self,
        shard: int,
        offset: int,
        timeout: float,  # noqa: ASYNC109 - part of the answer
        topic: str = RECORDS,
    ) -> bool:
        """Whether the views have seen `offset` within `timeout` seconds. Raises RunnerStoppedError."""
        self._check()
        place = (topic, shard)
        if self._reached[place] >= offset:
            return True
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((place, offset, waiter))
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            return False
        finally:
            self._waiters = [entry for entry in self._waiters if entry[2] is not waiter]
        return True

    async def hold(self, vector: Mapping[tuple[str, int], int] | None = None) -> None:
        """Stand still until `release`: here, after the batch under way; or, when it does already, further on.

        `vector` is within the log and nowhere below where this stands. Two generations that are held are brought to one
        vector so, and compared. Raises RunnerStoppedError.
        """
        self._held = {place: 0 if vector is None else vector[place] for place in self._places}
        self._released.set()  # whoever waits looks again
        self._released.clear()
        async with self._batching:
            self._check()
        for (topic, shard), offset in self._held.items():
            while not await self.reached(shard, offset, 60.0, topic):
                continue

    def release(self) -> None:
        self._held = None
        self._released.set()

    async def process_all(self) -> None:
        """Return once the views have seen all that the log held when this was called. Raises RunnerStoppedError."""
        self._check()
        for place in self._places:
            while not await self.reached(place[1], self._log_end(place), 60.0, place[0]):
                continue

    def _check(self) -> None:
        if self.failure is not None:
            raise RunnerStoppedError(f"the views stopped: {self.failure!r}") from self.failure

    async def _run(self) -> None:
        try:
            await self._follow()
        except asyncio.CancelledError:
            raise
        except BaseException as failure:  # noqa: BLE001 - whatever it is, nothing after it may be written
            self.failure = failure
            _log.critical("views.stopped", reached=list(self._reached.values()), exc_info=failure)
            for _, _, waiter in self._waiters:
                if not waiter.done():
                    waiter.set_exception(RunnerStoppedError(f"the views stopped: {failure!r}"))
            if self._on_failure is not None:
                self._on_failure(failure)

    async def _follow(self) -> None:
        begun = 0.0
        while not self._stopping:
            if all(self._end(place) <= reached for place, reached in self._reached.items()):
                await self._wait()
                continue
            rest = begun + _APART_SECONDS - time.monotonic()
            if rest > 0 and self.behind() < _BEHIND:
                await asyncio.sleep(rest)
            begun = time.monotonic()
            async with self._batching:
                await self._batch()
            await asyncio.sleep(0)

    def _log_end(self, place: Place) -> int:
        topic, shard = place
        return self._log.records_end(shard) if topic == RECORDS else self._log.operations_end(shard)

    def _end(self, place: Place) -> int:
        """Up to where this may go now."""
        end = self._log_end(place)
        return end if self._held is None else min(end, self._held[place])

    async def _wait(self) -> None:
        held = self._held is not None
        seen = [list(self.reached_of(topic).values()) for topic in (RECORDS, OPERATIONS)]
        more: Coroutine[Any, Any, Any] = self._released.wait() if held else self._log.changed.wait(*seen)
        self._wake = asyncio.ensure_future(more)
        try:
            await self._wake
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            self._wake = None

    async def _batch(self) -> None:
        stages, log = self.stages, self._log
        at, newest, taken = dict(self._reached), list(self._newest), 0
        times: list[int] = []
        fans = stages.fan_rows
        stages.begin()
        more = True
        while more and taken < _BATCH and stages.fan_rows - fans < _FAN_ROWS:
            chunk = min(_CHUNK, max(8, int(_FAN_ROWS / (self._fan_out + 1))))
            more = False
            for shard in range(self._shards):
                operated = await self._operations(shard, at, times)
                taken += operated
                more |= operated > 0
                place = (RECORDS, shard)
                end = self._end(place)
                if end <= at[place]:
                    continue
                entries = await log.read_records(shard, at[place], chunk)
                if self._held is not None:
                    entries = [entry for entry in entries if entry.offset <= end]
                if entries:
                    had = stages.fan_rows
                    await stages.feed(shard, entries, self._skipped.get(place, ()))
                    self._fan_out = (stages.fan_rows - had) / len(entries)
                    at[place], newest[shard] = entries[-1].offset, entries[-1].time
                    taken += len(entries)
                    if self.on_visible is not None:
                        times += [entry.time for entry in entries]
                    more = True
                else:
                    at[place] = end  # compaction took what was there
        batch = stages.finish()
        crash.point("views.before_commit")
        await self._store.apply(batch)
        crash.point("views.after_commit")
        self.batches += 1
        self.entries += taken
        self._reached, self._newest = at, newest
        self._tell()
        if self.on_visible is not None and times:
            self.on_visible(times)

    async def _operations(self, shard: int, at: dict[Place, int], times: list[int]) -> int:
        """Take what is there of one shard's operations, a bounded part of it; how many there were."""
        place = (OPERATIONS, shard)
        end = self._end(place)
        if end <= at[place]:
            return 0
        found = await self._log.read_operations(shard, at[place], _CHUNK)
        if self._held is not None:
            found = [each for each in found if each.offset <= end]
        if not found:
            at[place] = end  # what was there is set again further on, or forgotten
            return 0
        await self.stages.feed_operations(shard, found, self._skipped.get(place, ()))
        at[place] = found[-1].offset
        if self.on_visible is not None:
            times += [each.time for each in found]
        return len(found)

    def _tell(self) -> None:
        if not self._waiters:
            return
        for place, offset, waiter in self._waiters:
            if self._reached[place] >= offset and not waiter.done():
                waiter.set_result(None)
