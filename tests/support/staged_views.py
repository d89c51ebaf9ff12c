"""Views fed by hand: batches of any size, shards in any order, messages twice and late. What a runner may do, at will.

Does not own the log, nor the store.
"""

from __future__ import annotations

import random
from collections import deque

from ingest.log import ViewSource
from processors.batch import Stages
from processors.decode import Decoder
from processors.plan import Plan
from schemas.lexicon import load
from views import ALL
from views.store_sqlite import SqliteStore
from views.view import Edge, Fan, FanoutSettings


class Doubled(Stages):
    """Every message of a hop comes twice: at once, or behind the ones after it; never before it."""

    dice = random.Random(0)
    again = 0

    def send_edge(self, edge: Edge) -> None:
        super().send_edge(edge)
        late = self.__dict__.setdefault("late_edges", deque(maxlen=20))
        late.append(edge)
        for old in [old for old in late if self.dice.random() < 0.1]:
            self.again += 1
            super().send_edge(old)

    def send_fan(self, shard: int, fan: Fan) -> None:
        super().send_fan(shard, fan)
        late = self.__dict__.setdefault("late_fans", deque(maxlen=20))
        late.append((shard, fan))
        for old in [old for old in late if self.dice.random() < 0.1]:
            self.again += 1
            super().send_fan(*old)


class StagedViews:
    """Make one with `await StagedViews(...).open()`; `feed` brings the views to the end of the log."""

    def __init__(
        self,
        log: ViewSource,
        store: SqliteStore,
        settings: FanoutSettings,
        *,
        seed: int = 0,
        doubled: bool = False,
    ) -> None:
        self._log = log
        self._store = store
        self._settings = settings
        self.dice = random.Random(seed)
        self._doubled = doubled

    async def open(self) -> StagedViews:
        plan = Plan(ALL)
        kind = Doubled if self._doubled else Stages
        self.stages = kind(
            plan,
            Decoder(load(), plan.collections),
            self._store,
            await self._store.progress(),
            shards=self._log.shards,
            settings=self._settings,
        )
        self._at = [
            (await self._store.progress()).vector.get(("records", shard), 0) for shard in range(self._log.shards)
        ]
        self._operated = [0] * self._log.shards
        return self

    async def feed(self, size: int) -> None:
        """Batches of at most `size` entries a shard, each shard when its turn comes, some entries more than once."""
        log = self._log
        while waiting := [shard for shard in range(log.shards) if self._at[shard] < log.records_end(shard)]:
            self.stages.begin()
            for shard in self.dice.sample(waiting, self.dice.randint(1, len(waiting))):
                after = self._at[shard]
                if self._doubled:
                    after = max(0, after - self.dice.randrange(4))
                entries = await log.read_records(shard, after, self.dice.randint(1, size) + self._at[shard] - after)
                await self.stages.feed(shard, entries)
                self._at[shard] = max(self._at[shard], entries[-1].offset)
            await self._store.apply(self.stages.finish())
        for shard in range(log.shards):
            while self._operated[shard] < log.operations_end(shard):
                await self._operations(shard, size)

    async def _operations(self, shard: int, size: int) -> None:
        """One batch; what was taken last comes once more in front of it."""
        after = max(0, self._operated[shard] - self.dice.randrange(4)) if self._doubled else self._operated[shard]
        found = await self._log.read_operations(
            shard, after, self.dice.randint(1, size) + self._operated[shard] - after
        )
        self.stages.begin()
        await self.stages.feed_operations(shard, found)
        self._operated[shard] = max(self._operated[shard], found[-1].offset)
        await self._store.apply(self.stages.finish())
