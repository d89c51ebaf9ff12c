"""Several owners of one shard of `records` at once, each stopped before whatever it asks or writes.

Who goes on is drawn. Store and hops are `lane_rig`'s, but that every message and every partition of a wave is a write
of its own: a zombie may wait between any two while its successors work, and die there. Does not own what must hold.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from processors.lanes.lane import Lane
from tests.support.lane_rig import Killed, MemoryHops, Rig, Torn
from views.cql.order import waves
from views.store import Batch, Progress
from views.table import Key, Row, Table


class Turns:
    """Whoever waits here goes on when it is drawn."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._waiting: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        self._doomed: set[asyncio.Task[Any]] = set()
        self.taken = 0

    async def wait(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        turn = self._waiting[task] = asyncio.get_running_loop().create_future()
        await turn
        self.taken += 1
        if task in self._doomed:
            raise Killed

    def doom(self, task: asyncio.Task[Any]) -> None:
        """It dies at its next turn."""
        self._doomed.add(task)

    async def next(self, tasks: Sequence[asyncio.Task[Any]]) -> bool:
        """One of the tasks takes a step; False when all have ended."""
        while True:
            alive = [task for task in tasks if not task.done()]
            if not alive:
                return False
            if all(task in self._waiting for task in alive):
                break
            await asyncio.sleep(0)
        self._waiting.pop(self._dice.choice(alive)).set_result(None)
        return True


class TurnedStore(Torn):
    """One after the other: each read, each partition of a wave, the reach, the progress."""

    turns: Turns | None = None

    async def _turn(self) -> None:
        if self.turns is not None:
            await self.turns.wait()

    async def get_many(self, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        await self._turn()
        return await super().get_many(table, keys)

    async def statics(self, table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        await self._turn()
        return await super().statics(table, partitions)

    async def slice(self, table: Table, partition: Key, **asked: Any) -> list[Row]:
        await self._turn()
        return await super().slice(table, partition, **asked)

    async def reach(self, topic: str, shard: int, offset: int) -> None:
        await self._turn()
        await super().reach(topic, shard, offset)

    async def progress_of(self, topic: str, shard: int) -> Progress:
        await self._turn()
        return await super().progress_of(topic, shard)

    async def apply(self, batch: Batch) -> None:
        if self.turns is None:
            await super().apply(batch)
            return
        for wave in waves(batch):
            for partition in self.turns._dice.sample(wave, len(wave)):
                await self._turn()
                await self.write(batch, [partition])
        await self._turn()
        await self.save(batch)


class TurnedHops(MemoryHops):
    turns: Turns | None = None

    async def send(self, messages: Any) -> None:
        for message in messages:
            if self.turns is not None:
                await self.turns.wait()
            await super().send([message])


async def overlap(rig: Rig, topic: str, shard: int, *, owners: int, sizes: Sequence[int]) -> Turns:
    """So many take the shard one after the other, and none of them knows; in the end all have died or are through."""
    dice, store, hops = rig.dice, rig.store, rig.hops
    assert isinstance(store, TurnedStore)
    assert isinstance(hops, TurnedHops)
    turns = store.turns = hops.turns = Turns(dice)

    async def own() -> None:
        with suppress(Killed):
            lane: Lane = await rig.new(topic, shard)
            while await rig.step(lane, dice.choice(sizes)):
                pass

    tasks = [asyncio.create_task(own())]
    while True:
        alive = await turns.next(tasks)
        if len(tasks) < owners and (not alive or dice.random() < 0.05):
            tasks.append(asyncio.create_task(own()))
        elif not alive:
            break
        elif dice.random() < 0.01:
            turns.doom(dice.choice(tasks))
    await asyncio.gather(*tasks)
    store.turns = hops.turns = None
    return turns
