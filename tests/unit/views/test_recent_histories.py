"""Whatever is written, read, cut off and demanded meanwhile: each answer is of a moment that it may be of."""

from __future__ import annotations

import asyncio
import random

import pytest

from views.store_recent import Keep, RecentStore
from views.table import Table, integer, text

from .test_store_recent import Clock

SECONDS = 1.0
NAMES = "abcdef"
TABLE = Table("t", "records", (text("p", ""),), (text("s", ""),), (integer("version", ""),), (integer("n", ""),))
SIZES = {"roomy": 1 << 20, "tight": 2_000}


class History:
    """A store of partitions of a few rows, each row written with rising versions; its answers wait for the test."""

    def __init__(self, clock):
        self.clock = clock
        self.written = {(p, s): [(0.0, 0)] for p in NAMES for s in NAMES[: 1 + NAMES.index(p)]}
        self.waiting = []
        self.asked = 0
        self.progress = None

    def write(self, key):
        self.written[key].append((self.clock.now, self.written[key][-1][1] + 1))

    def before(self, key, moment):
        """The newest version that was written before the moment: what is written in it may come after a reading."""
        return max(version for when, version in self.written[key] if when < moment)

    def newest(self, key):
        return self.written[key][-1][1]

    def row(self, key):
        return (*key, self.newest(key)) if key in self.written else None

    async def get_many(self, _table, keys):
        return await self._answer(lambda: [self.row(key) for key in keys])

    async def beginnings(self, _table, partitions, *, limit):
        return await self._answer(lambda: [self._beginning(partition, limit) for partition in partitions])

    async def slice(self, _table, partition, *, limit, **_bounds):
        return await self._answer(lambda: self._beginning(partition, limit))

    async def statics(self, _table, partitions):
        return await self._answer(lambda: [self.row((p, "a"))[2:] for (p,) in partitions])

    def _beginning(self, partition, limit):
        return [self.row(key) for key in sorted(self.written) if key[:1] == partition][:limit]

    async def _answer(self, look):
        """What is said is of some moment between the question and the answer."""
        self.asked += 1
        await self._turn()
        found = look()
        await self._turn()
        return found

    async def _turn(self):
        self.waiting.append(turn := asyncio.Event())
        await turn.wait()


class Reader:
    """One question, with what its answer must not be older than."""

    def __init__(self, history, recent, dice):
        self.begun = history.clock.now
        self.floor = dice.choice([0.0, self.begun, self.begun - dice.random()])
        self.history = history
        store = recent.since(self.floor)
        partitions = dice.sample(NAMES, dice.randint(1, 3))
        keys = [dice.choice([key for key in history.written if key[0] == p]) for p in partitions]
        kind = dice.choice(["rows", "rows", "statics", "slice"])
        if kind == "rows":
            self.keys, asked = keys, store.get_many(TABLE, keys)
        elif kind == "statics":
            self.keys, asked = [(p, "a") for p in partitions], store.statics(TABLE, [(p,) for p in partitions])
        else:
            self.keys = [key for key in sorted(history.written) if key[0] == partitions[0]]
            asked = store.slice(TABLE, (partitions[0],), limit=9)
        self.task = asyncio.create_task(asked)

    def check(self):
        oldest = max(self.floor, self.begun - SECONDS)
        for key, row in zip(self.keys, self.task.result(), strict=True):
            assert self.history.before(key, oldest) <= row[-1] <= self.history.newest(key), key


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(20))
async def test_no_answer_is_older_than_it_may_be(seed, size):
    dice, clock = random.Random(seed), Clock()
    history = History(clock)
    most = SIZES[size]
    plan = {TABLE: Keep(rows=most, statics=most, slices=most, whole=4, whole_bytes=most)}
    recent = RecentStore(history, SECONDS, plan, now=clock)
    under_way, checked, cut_off = [], 0, 0

    async def settle():
        nonlocal checked
        for _ in range(4):
            await asyncio.sleep(0)
        for reader in [each for each in under_way if each.task.done()]:
            under_way.remove(reader)
            if not reader.task.cancelled():
                reader.check()
                checked += 1

    for _ in range(400):
        deed = dice.random()
        if deed < 0.25:
            history.write(dice.choice(list(history.written)))
        elif deed < 0.40:
            clock.now += dice.choice([0.01, 0.2, 0.7])
        elif deed < 0.65:
            under_way.append(Reader(history, recent, dice))
        elif deed < 0.70 and under_way:
            dice.choice(under_way).task.cancel()
            cut_off += 1
        elif history.waiting:
            history.waiting.pop(dice.randrange(len(history.waiting))).set()
        if dice.random() < 0.01:
            recent = RecentStore(history, SECONDS, plan, now=clock)  # a flip
        await settle()
    while under_way:
        while history.waiting:
            history.waiting.pop().set()
        await settle()

    assert checked > 50
    assert cut_off
    assert history.asked < checked + cut_off * 2 + 200
    assert all(
        not kept.under_way for kinds in (recent._rows, recent._statics, recent._slices) for kept in kinds.values()
    )
