"""Rows in memory are what the store would have said, whatever is written between and during reads."""

from __future__ import annotations

import asyncio
import random

import pytest

from views.store import Batch
from views.store_cached import CachedStore
from views.store_sqlite import SqliteStore
from views.table import APPLIED, Table, integer, text

PAIR = Table(
    "pair",
    "records",
    partition=(text("x", ""),),
    clustering=(text("s", ""), text("r", "")),
    columns=(integer("v", ""),),
    statics=(integer("n", ""), APPLIED),
)
ONE = Table("one", "records", partition=(text("k", ""),), columns=(integer("v", ""),))
NAMES = "abcd"


@pytest.fixture
async def store(tmp_path):
    made = SqliteStore(tmp_path / "views.sqlite", (PAIR, ONE))
    yield made
    await made.close()


def some_writes(dice, number):
    rows = {PAIR: {}, ONE: {}}
    for _ in range(dice.randint(1, 4)):
        x, s, r = (dice.choice(NAMES) for _ in range(3))
        rows[PAIR].setdefault((x,), {})[s, r] = dice.choice([None, (x, s, r, number)])
        rows[ONE].setdefault((s,), {})[()] = dice.choice([None, (s, number)])
    return Batch(rows=rows, statics={PAIR: {(dice.choice(NAMES),): (number, number)}}, vector={}, marks={})


def some_read(dice):
    keys = [tuple(dice.choice(NAMES) for _ in range(3)) for _ in range(dice.randint(1, 6))]
    limit = dice.choice([1, 5])
    return dice.choice(
        [
            lambda store: store.get_many(PAIR, keys),
            lambda store: store.get_many(PAIR, [key[:2] for key in keys]),
            lambda store: store.get_many(ONE, [key[:1] for key in keys]),
            lambda store: store.statics(PAIR, [key[:1] for key in keys]),
            lambda store: store.slice(PAIR, (keys[0][0],), limit=limit),
            lambda store: store.slice(PAIR, keys[0][:2], limit=5, reverse=True),
            lambda store: store.slice(PAIR, (keys[0][0],), after=keys[0][1:2], limit=5),
            lambda store: store.slice(PAIR, (keys[0][0],), until=keys[0][1:2], limit=5),
        ]
    )


@pytest.mark.parametrize("limit", [1, 5, 1000])
async def test_every_answer_is_the_store_s(store, limit):
    cached = CachedStore(store, {PAIR: limit, ONE: limit}, {PAIR: limit})
    dice = random.Random(limit)
    for number in range(400):
        read = some_read(dice)
        assert await read(cached) == await read(store)
        if dice.random() < 0.3:
            await dice.choice([cached, cached.behind]).apply(some_writes(dice, number))
    assert cached.size() > 0


async def test_reads_while_a_batch_is_applied_keep_nothing_stale(store):
    """The store beneath says the old rows until its commit; they must not be said after it."""

    class Slow:
        def __init__(self):
            self.progress, self.statics = store.progress, store.statics
            self.let_read, self.let_write = asyncio.Event(), asyncio.Event()

        async def get_many(self, table, keys):
            rows = await store.get_many(table, keys)
            await self.let_read.wait()
            return rows

        async def slice(self, table, partition, **how):
            rows = await store.slice(table, partition, **how)
            await self.let_read.wait()
            return rows

        async def apply(self, batch):
            await self.let_write.wait()
            await store.apply(batch)

    slow = Slow()
    cached = CachedStore(slow, {ONE: 100}, {ONE: 100})

    def write(value):
        return Batch(rows={ONE: {("k",): {(): ("k", value)}}}, statics={}, vector={}, marks={})

    async def read():
        return await asyncio.gather(cached.get_many(ONE, [("k",)]), cached.slice(ONE, ("k",), limit=1))

    await store.apply(write(1))
    before = asyncio.create_task(read())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    writing = asyncio.create_task(cached.apply(write(2)))
    await asyncio.sleep(0)
    during = asyncio.create_task(read())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    slow.let_read.set()

    assert await before == await during == [[("k", 1)]] * 2
    slow.let_write.set()
    await writing
    assert await read() == [[("k", 2)]] * 2


async def test_memory_is_bounded(store):
    cached = CachedStore(store, {ONE: 10})
    for number in range(200):
        await cached.get_many(ONE, [(str(number),), (str(number // 2),)])

    assert 10 <= cached.size() <= 24


async def test_what_is_asked_again_is_not_asked_of_the_store(store):
    asked = []

    class Seen:
        slice, progress, statics = store.slice, store.progress, store.statics

        async def get_many(self, table, keys):
            asked.extend(keys)
            return await store.get_many(table, keys)

    cached = CachedStore(Seen(), {ONE: 10})
    await cached.get_many(ONE, [("a",), ("b",)])
    await cached.get_many(ONE, [("b",), ("c",)])

    assert asked == [("a",), ("b",), ("c",)]


async def test_the_beginning_of_a_partition_is_asked_of_the_store_again_only_once_it_was_written(store):
    asked = []

    class Seen:
        apply, get_many, progress, statics = store.apply, store.get_many, store.progress, store.statics

        async def slice(self, table, partition, **how):
            asked.append(partition)
            return await store.slice(table, partition, **how)

    cached = CachedStore(Seen(), {}, {PAIR: 100})
    for _ in range(2):
        for name in "ab":
            (await cached.slice(PAIR, (name,), limit=5)).append("a reader's own list")
    await cached.apply(Batch(rows={PAIR: {("a",): {("s", "r"): ("a", "s", "r", 1)}}}, statics={}, vector={}, marks={}))

    assert await cached.slice(PAIR, ("a",), limit=5) == [("a", "s", "r", 1)]
    assert await cached.slice(PAIR, ("b",), limit=5) == []
    assert asked == [("a",), ("b",), ("a",)]
