"""Several owners of one shard of `records` at once, each stopped before whatever it asks or writes.

Who goes on is drawn. Store and hops are `lane_rig`'s, but that every message and every partition of a wave is a write
of its own: a zombie may wait between any two while its successors work, and die there. Does not own what must hold.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from processors.lanes.lane import Lane
from schemas.tracing import NO_TRACES
from tests.support.lane_rig import Killed, MemoryHops, Rig, Torn
from views.cql.order import waves
from views.store import Batch, Progress
from views.table import Key, Row, Table

_OWNER: ContextVar[asyncio.Task[Any] | None] = ContextVar("owner", default=None)


class Turns:
    """Whoever waits here goes on when it is drawn: an owner, or one of several questions that it asks at once."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._waiting: dict[asyncio.Future[None], object] = {}
        """Turns, each with its owner."""
        self._doomed: set[asyncio.Task[Any]] = set()
        self.taken = 0
        self.at_once = 0
        """Turns that were drawn while the same owner had another question."""

    async def wait(self) -> None:
        owner = _OWNER.get()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = owner
        try:
            await turn
        finally:
            del self._waiting[turn]
        self.taken += 1
        self.at_once += owner in self._waiting.values()
        if owner in self._doomed:
            raise Killed

    def doom(self, task: asyncio.Task[Any]) -> None:
        """It dies at its next turn."""
        self._doomed.add(task)

    async def next(self, tasks: Sequence[asyncio.Task[Any]]) -> bool:
        """One of the tasks takes a step; False when all have ended."""
        while True:
            if all(task.done() for task in tasks):
                return False
            here = asyncio.current_task()
            if self._waiting and all(_blocked(task) for task in asyncio.all_tasks() if task is not here):
                break
            await asyncio.sleep(0)
        self._dice.choice([*self._waiting]).set_result(None)
        return True


def _blocked(task: asyncio.Task[Any]) -> bool:
    """Whether it waits for something that has not come."""
    waiter = task._fut_waiter
    return waiter is not None and not waiter.done()


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

    async def send(self, messages: Any, traces: Mapping[int, bytes] = NO_TRACES) -> None:
        for message in messages:
            if self.turns is not None:
                await self.turns.wait()
            await super().send([message], traces)


async def overlap(rig: Rig, topic: str, shard: int, *, owners: int, sizes: Sequence[int]) -> Turns:
    """So many take the shard one after the other, and none of them knows; in the end all have died or are through."""
    dice, store, hops = rig.dice, rig.store, rig.hops
    assert isinstance(store, TurnedStore)
    assert isinstance(hops, TurnedHops)
    turns = store.turns = hops.turns = Turns(dice)

    async def own() -> None:
        _OWNER.set(asyncio.current_task())
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
