"""How far a cluster's log has flowed: what waits before derive, before each lane, and before the slowest view.

Looks at the broker and the store when asked; nothing is followed. Offsets are the log's own. Does not own what progress
means (`views.complete`) nor who shows it (`headrace/metrics/cluster.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, aclosing

import msgspec

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.pds.read import ShardReader
from ingest.log_kafka.truncate import derived_to
from schemas.topics import COMMITS, EDGES, FANOUT, OPERATIONS, RECORDS, hop
from views.complete import complete, newest_times, taken
from views.store import Store


class Standing(msgspec.Struct, frozen=True):
    """As of one look. `waiting` is in entries by (topic, shard), `ages` in seconds by shard of `records`."""

    waiting: dict[tuple[str, int], int]
    reached: tuple[int, ...]
    """By shard of `records`, the offset up to which all views show it."""
    behind: int
    """Entries that are in `commits`, `records` or `operations` and not yet in every view; an upper bound."""
    ages: tuple[float, ...]
    """Of the newest entry taken, in shards where the views are behind; 0 elsewhere."""
    passed: dict[str, int] = {}
    """By topic, of all shards: offsets of `commits`, with the markers of transactions; changes of `records` that were
    taken; messages of the hops."""

    @property
    def freshness(self) -> float:
        return max(self.ages, default=0.0)


NOWHERE = Standing({}, (), 0, ())
OVERDUE_SECONDS = 15.0  # three looks of those that are made by the clock


def lateness(standing: Standing, unseen: float) -> float:
    """In seconds, how late what was written may show, given that the look at `standing` is `unseen` seconds old.

    While broker or store does not answer nothing tells that anything shows: the time since then counts as late.
    """
    return standing.freshness + (unseen if unseen > OVERDUE_SECONDS else 0.0)


class River:
    """`open`, `look` as often as wanted (one at a time), `close`. `now` gives unix microseconds."""

    def __init__(
        self, kafka: KafkaSettings, shards: int, store: Store, generation: str, now: Callable[[], int]
    ) -> None:
        self._kafka = kafka
        self._shards = shards
        self._store = store
        self._now = now
        self._since = self._seen = now()
        names = {topic: topic for topic in (COMMITS, RECORDS, OPERATIONS)} | {
            EDGES: hop(EDGES, generation),
            FANOUT: hop(FANOUT, generation),
        }
        self._readers = {topic: ShardReader(kafka, name, shards) for topic, name in names.items()}
        self._stack = AsyncExitStack()
        self._turn = asyncio.Lock()
        self.last = NOWHERE

    async def open(self) -> None:
        async with AsyncExitStack() as stack:
            for reader in self._readers.values():
                await stack.enter_async_context(reader)
            self._stack = stack.pop_all()

    async def close(self) -> None:
        await self._stack.aclose()

    @property
    def unseen(self) -> float:
        """Seconds since the newest look that was answered, or since the start."""
        return max(0.0, (self._now() - self._seen) / 1e6)

    async def look(self) -> Standing:
        """In the order of the flow, so that nothing is missed that moves on meanwhile."""
        async with self._turn:
            entered = await self._readers[COMMITS].stable_ends()
            waiting = {(COMMITS, shard): found for shard, found in enumerate(await self._before_derive(entered))}
            ends = {topic: await self._readers[topic].stable_ends() for topic in (RECORDS, OPERATIONS, EDGES, FANOUT)}
            progress = await self._store.progress()
            for topic, of_shards in ends.items():
                for shard, end in enumerate(of_shards):
                    waiting[topic, shard] = max(0, end - progress.vector.get((topic, shard), 0))
            reached = complete(progress, self._shards)
            late = [max(0, end - at) for end, at in zip(ends[RECORDS], reached, strict=True)]
            now, newest = self._now(), newest_times(progress, self._shards)
            ages = tuple(
                max(0.0, (now - (taken or self._since)) / 1e6) if behind else 0.0
                for taken, behind in zip(newest, late, strict=True)
            )
            others = sum(waiting[topic, shard] for topic in (COMMITS, OPERATIONS) for shard in range(self._shards))
            passed = {COMMITS: sum(entered), RECORDS: taken(progress, self._shards)}
            passed |= {hop: sum(ends[hop]) for hop in (EDGES, FANOUT)}
            self.last = Standing(waiting, reached, others + sum(late), ages, passed)
            self._seen = now
            return self.last

    async def _before_derive(self, ends: Sequence[int]) -> list[int]:
        """Entries of each shard that derive has not taken; what follows on its place may be markers alone."""
        reader = self._readers[COMMITS]
        begins = await reader.begins()
        places = await derived_to(self._kafka, self._shards)
        found = []
        for shard, end in enumerate(ends):
            after = max(places.get(shard, 0), begins[shard])
            found.append(end - after if after < end and await self._holds_any(reader, shard, after, end) else 0)
        return found

    @staticmethod
    async def _holds_any(reader: ShardReader, shard: int, after: int, end: int) -> bool:
        async with aclosing(reader.read(shard, after, end)) as pages:
            async for _ in pages:
                return True
        return False
