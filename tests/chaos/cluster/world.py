"""One random network twice: whole and undisturbed in a process on SQLite, and as `commits` of a cluster.

The twin says what must be there. The cluster is fed with the twin's own entries, offset for offset. Does not own the
workers that make views of them, nor what befalls them.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_right
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from ingest.log_kafka.client import KafkaSettings, new_consumer, new_producer
from processors.digest import comparable, digests, measure
from schemas import entry_codec, records_codec
from schemas.entries import Derived, Entry, Moderation
from schemas.topics import COMMITS, RECORDS
from tests.oracle.compare import Comparison, Watch
from tests.support.asking import InProcess
from tests.support.fast_network import SECOND, TIGHT, FastNetwork, dids
from tests.support.random_network import Habits, RandomNetwork
from views import ALL
from views.complete import complete
from views.store_scylla import ScyllaStore, StoreUnavailableError

ACTORS = 8
CHUNK = 10
POLL_SECONDS = 0.05
PAST = 6 * 3_600 * SECOND


class World:
    """Make one with `await World(...).open()`."""

    def __init__(
        self,
        directory: Path,
        kafka: KafkaSettings,
        store: ScyllaStore,
        shards: int,
        *,
        seed: int,
        habits: Habits,
        ahead: int,
    ) -> None:
        self.kafka = kafka
        self.store = store
        self.shards = shards
        self.seed = seed
        self._habits = habits
        self._ahead = ahead
        self.dice = random.Random(seed)
        self.twin = FastNetwork(directory, dids(ACTORS), shards, TIGHT)
        self.derived: list[list[Derived]] = [[] for _ in range(shards)]
        self._offsets: list[list[int]] = [[] for _ in range(shards)]
        self._copied = [0] * shards
        self._shown = [0] * shards
        self._tasks: set[asyncio.Task[None]] = set()
        self._flow: asyncio.Task[None] | None = None
        self._ending = AsyncExitStack()
        self.flowing = False
        self.full = False
        """Nothing flows for now: the views are too far behind."""

    async def open(self) -> World:
        ending = self._ending
        await self.twin.open()
        ending.push_async_callback(self.twin.close)
        # The newest entries are young, as in a cluster that lives: what depends on their age holds.
        self.twin.clock = time.time_ns() // 1000 - PAST
        await self.twin.begin()
        self._steps = RandomNetwork(self.dice, self.twin.dids, self.twin.now, self._habits).steps(1 << 60)
        self._producer: AIOKafkaProducer = new_producer(self.kafka)
        ending.push_async_callback(self._producer.stop)
        await self._producer.start()
        await self._copy()
        self._tail: AIOKafkaConsumer = new_consumer(self.kafka)
        self._tail.assign([TopicPartition(self.kafka.topic(RECORDS), shard) for shard in range(self.shards)])
        ending.push_async_callback(self._tail.stop)
        await self._tail.start()
        ending.push_async_callback(self._end_tasks)
        self._task(self._follow())
        return self

    async def close(self) -> None:
        await self._ending.aclose()

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> None:
        """Raises what a task in the background has raised."""
        for task in self._tasks:
            if task.done():
                task.result()

    # --- what flows ---

    async def feed(self, steps: int) -> None:
        for _ in range(steps):
            await self.twin.do(next(self._steps))
        await self._copy()

    def flow(self) -> None:
        """From now on something happens all the time, up to `ahead` entries before the views."""
        self.flowing = True
        self._flow = self._task(self._go_on())

    async def still(self) -> None:
        self.flowing = False
        assert self._flow is not None
        await self._flow

    def ends(self) -> list[int]:
        """By shard, how many entries `records` is to have by now."""
        return [self.twin.log.records_end(shard) for shard in range(self.shards)]

    async def shown(self) -> list[int]:
        """By shard, how many entries of `records` are in every view; as it was when the store cannot say."""
        with suppress(StoreUnavailableError):
            offsets = complete(await self.store.progress(), self.shards)
            self._shown = [bisect_right(self._offsets[shard], offset) for shard, offset in enumerate(offsets)]
        return self._shown

    async def _go_on(self) -> None:
        while self.flowing:
            self.full = sum(self.ends()) - sum(await self.shown()) >= self._ahead
            if not self.full:
                await self.feed(CHUNK)
            else:
                await asyncio.sleep(POLL_SECONDS)

    async def _copy(self) -> None:
        """What is new in the twin's `commits`, to the same offsets of the cluster's."""
        topic, log, sent = self.kafka.topic(COMMITS), self.twin.log, []
        for shard in range(self.shards):
            while entries := await log.read_commits(shard, self._copied[shard], 1000):
                for offset, entry in entries:
                    key, value = _account(entry).encode(), entry_codec.encode(entry)
                    sent.append((offset, await self._producer.send(topic, value, key, partition=shard)))
                    self._copied[shard] = offset
        for offset, taken in sent:
            at = await taken
            assert at.offset + 1 == offset, f"commits: sent entry {offset} of shard {at.partition} to {at.offset + 1}"

    async def _follow(self) -> None:
        """`records` as a reader sees them: nothing missing, nothing twice."""
        async for message in self._tail:
            shard, offset = message.partition, message.offset + 1
            entry = records_codec.decode(message.key, message.value, message.headers, offset)
            if entry is not None:
                derived = self.derived[shard]
                assert entry.n == len(derived) + 1, f"records[{shard}]: entry {entry.n} after {len(derived)} of them"
                derived.append(entry)
                self._offsets[shard].append(offset)

    # --- what must be there ---

    async def same(self, viewers: int) -> int:
        """Raises AssertionError unless log and views are the twin's; the answers compared, of so many viewers."""
        await self.twin.settle()
        for shard, derived in enumerate(self.derived):
            expected = await self.twin.log.read_records(shard, 0, len(derived) + 1)
            assert [*map(_placeless, derived)] == [*map(_placeless, expected)], f"seed {self.seed}: records[{shard}]"
        found = {view.name: (await measure(self.store, view.table)).digest() for view in comparable(ALL)}
        said = digests(self.twin.store, ALL)
        other = [name for name in said if found[name] != said[name]]
        assert not other, f"seed {self.seed}: {', '.join(other)} differ from the undisturbed twin's"
        watch = Watch()
        network = InProcess(self.store)
        comparison = Comparison(
            await self.twin.read(), network, self.twin.dids, self.dice, watch=watch, context=f"seed {self.seed}"
        )
        await comparison.everything([None, *self.dice.sample(self.twin.dids, viewers)])
        return sum(watch.counts.values())

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        return task


async def until(
    check: Callable[[], Coroutine[Any, Any, bool]], said: Callable[[], str], seconds: float, *watched: Any
) -> float:
    """Seconds until `check` came true. Raises AssertionError when it takes longer, or when one `watched` raises."""
    started = time.monotonic()
    while not await check():
        for each in watched:
            each.check()
        assert time.monotonic() - started < seconds, f"not within {seconds:.0f} s: {said()}"
        await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - started


def _account(entry: Entry) -> str:
    """Whose entry it is: the key of `commits`."""
    if isinstance(entry, Moderation):
        return entry.subject.removeprefix("at://").partition("/")[0]
    return entry.did


def _placeless(entry: Derived) -> Derived:
    return msgspec.structs.replace(entry, offset=0)
