"""Rows kept for a moment: never older than said, never older than demanded, read once for all who miss them at once."""

from __future__ import annotations

import asyncio

import pytest

from views.recent_rows import Recent, Tally, size_of
from views.store_recent import Keep, RecentStore
from views.table import APPLIED, Table, integer, text

ONE = Table("one", "records", partition=(text("k", ""),), columns=(text("v", ""),))
ROOMY = Keep(rows=1 << 20, statics=1 << 20, slices=1 << 20)
PAIR = Table(
    "pair",
    "records",
    partition=(text("x", ""),),
    clustering=(text("s", ""), text("r", "")),
    columns=(integer("v", ""),),
    statics=(integer("n", ""), APPLIED),
)
PLAN = {ONE: ROOMY, PAIR: ROOMY}
WHOLE = {PAIR: Keep(rows=1 << 20, whole=3, whole_bytes=1 << 20)}


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Held:
    """A store whose rows are the test's, and which answers when it is let; it keeps what it was asked."""

    def __init__(self, rows=None):
        self.rows = rows or {}
        self.asked = []
        self.open = asyncio.Event()
        self.open.set()
        self.error = None

    def progress(self):
        raise AssertionError

    async def get_many(self, _table, keys):
        self.asked += [("row", *key) for key in keys]
        return await self._answer([self.rows.get(key) for key in keys])

    async def statics(self, _table, partitions):
        self.asked += [("statics", *key) for key in partitions]
        return await self._answer([self.rows.get(key) for key in partitions])

    async def slice(self, _table, partition, *, limit, **_bounds):
        self.asked.append(("slice", *partition))
        return await self._answer([self.rows[key] for key in sorted(self.rows) if key[:1] == partition][:limit])

    async def beginnings(self, _table, partitions, *, limit):
        self.asked += [("whole", *key) for key in partitions]
        answers = [[self.rows[key] for key in sorted(self.rows) if key[:1] == p][:limit] for p in partitions]
        return await self._answer(answers)

    async def _answer(self, found):
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return found


def held(plan=PLAN, **rows):
    store, clock = Held({(name,): (name, value) for name, value in rows.items()}), Clock()
    return store, clock, RecentStore(store, 1.0, plan, now=clock)


async def turns(many=5):
    for _ in range(many):
        await asyncio.sleep(0)


async def test_a_row_is_answered_for_its_time_and_then_read_again():
    store, clock, recent = held(a="old")
    first = await recent.get_many(ONE, [("a",), ("b",)])
    store.rows = {("a",): ("a", "new"), ("b",): ("b", "new")}

    clock.now += 1.0
    kept = await recent.get_many(ONE, [("b",), ("a",)])
    clock.now += 0.001
    read = await recent.get_many(ONE, [("a",), ("b",)])

    assert first == [("a", "old"), None] == kept[::-1]
    assert read == [("a", "new"), ("b", "new")]
    assert len(store.asked) == 4


async def test_who_demands_what_is_newer_reads_it_and_others_are_shown_it_then():
    store, clock, recent = held(a="old")
    await recent.get_many(ONE, [("a",)])
    clock.now += 0.4
    moment = clock.now
    clock.now += 0.1
    store.rows = {("a",): ("a", "new")}

    others = await recent.get_many(ONE, [("a",)])
    writer = await recent.since(moment).get_many(ONE, [("a",)])
    then = await recent.get_many(ONE, [("a",)])
    again = await recent.since(moment).get_many(ONE, [("a",)])

    assert others == [("a", "old")]
    assert writer == then == again == [("a", "new")]
    assert len(store.asked) == 2


async def test_a_moment_that_nothing_kept_is_older_than_demands_nothing():
    _, clock, recent = held()

    assert recent.since(clock.now - 1.0) is recent
    assert recent.since(clock.now) is not recent


@pytest.mark.parametrize("kind", ["rows", "statics", "slice"])
async def test_every_kind_of_question_honours_the_moment(kind):
    store, clock, recent = held(a="old")

    async def ask(of):
        if kind == "slice":
            return await of.slice(ONE, ("a",), limit=5)
        return await (of.get_many if kind == "rows" else of.statics)(ONE, [("a",)])

    await ask(recent)
    store.rows = {("a",): ("a", "new")}

    clock.now += 0.5
    assert await ask(recent) == [("a", "old")]
    assert await ask(recent.since(clock.now)) == [("a", "new")]
    assert await ask(recent) == [("a", "new")]
    assert len(store.asked) == 2


async def test_what_began_to_be_read_before_the_moment_is_not_joined():
    store, clock, recent = held(a="old")
    store.open.clear()
    early = asyncio.create_task(recent.get_many(ONE, [("a",)]))
    await turns()
    clock.now += 0.5
    writer = asyncio.create_task(recent.since(clock.now).get_many(ONE, [("a",)]))
    await turns()

    assert len(store.asked) == 2
    store.open.set()
    await early
    await writer
    assert recent._rows[ONE].under_way == {}


async def test_a_reading_that_ends_late_does_not_put_out_what_was_read_after_it_began():
    store, clock, recent = held(a="old")
    store.open.clear()
    early = asyncio.create_task(recent.get_many(ONE, [("a",)]))
    await turns()
    slow, store.open = store.open, asyncio.Event()
    store.open.set()
    clock.now += 0.5
    store.rows = {("a",): ("a", "new")}
    assert await recent.since(clock.now).get_many(ONE, [("a",)]) == [("a", "new")]

    slow.set()
    await early

    assert await recent.get_many(ONE, [("a",)]) == [("a", "new")]


async def test_the_time_of_a_row_counts_from_the_beginning_of_its_reading():
    store, clock, recent = held(a="old")
    store.open.clear()
    reading = asyncio.create_task(recent.get_many(ONE, [("a",)]))
    await turns()
    clock.now += 0.9
    store.open.set()
    await reading

    clock.now += 0.2
    await recent.get_many(ONE, [("a",)])

    assert len(store.asked) == 2


async def test_all_who_miss_a_key_at_once_share_one_reading():
    store, _, recent = held(a="1", b="2", c="3")
    store.open.clear()
    readers = [asyncio.create_task(recent.get_many(ONE, [("a",), ("b",)])) for _ in range(10)]
    other = asyncio.create_task(recent.get_many(ONE, [("c",), ("b",)]))
    await turns()
    store.open.set()

    assert [await each for each in readers] == [[("a", "1"), ("b", "2")]] * 10
    assert await other == [("c", "3"), ("b", "2")]
    assert sorted(store.asked) == [("row", "a"), ("row", "b"), ("row", "c")]


async def test_who_joined_is_not_cut_off_with_whoever_read():
    store, _, recent = held(a="1")
    store.open.clear()
    first, second, third = (asyncio.create_task(recent.get_many(ONE, [("a",)])) for _ in range(3))
    await turns()
    first.cancel()
    await turns()
    third.cancel()
    await turns()
    store.open.set()

    assert await second == [("a", "1")]
    assert len(store.asked) == 2
    assert recent._rows[ONE].under_way == {}


async def test_what_fails_is_told_to_all_who_wait_and_kept_of_nobody():
    store, _, recent = held(a="1")
    store.open.clear()
    store.error = OSError("away")
    readers = [asyncio.create_task(recent.get_many(ONE, [("a",)])) for _ in range(3)]
    await turns()
    store.open.set()

    found = await asyncio.gather(*readers, return_exceptions=True)
    store.error = None

    assert [type(each) for each in found] == [OSError] * 3
    assert len(store.asked) == 1
    assert await recent.get_many(ONE, [("a",)]) == [("a", "1")]


async def test_of_some_tables_absence_is_not_kept():
    store, _, recent = held({ONE: Keep(rows=1 << 20, absent=False)})
    assert await recent.get_many(ONE, [("a",)]) == [None]
    store.rows = {("a",): ("a", "1")}

    assert await recent.get_many(ONE, [("a",)]) == [("a", "1")]


async def test_of_some_tables_absence_is_told_to_nobody_who_came_after_it_was_asked_for():
    store, clock, recent = held({ONE: Keep(rows=1 << 20, absent=False)})
    store.open.clear()
    first = asyncio.create_task(recent.get_many(ONE, [("a",)]))
    await turns()
    store.rows = {("a",): ("a", "1")}
    clock.now += 0.001
    later = [asyncio.create_task(recent.get_many(ONE, [("a",)])) for _ in range(3)]
    await turns()
    store.open.set()

    assert await first == [None]
    assert await asyncio.gather(*later) == [[("a", "1")]] * 3
    assert len(store.asked) == 2


async def test_tables_without_a_plan_are_asked_each_time():
    store, _, recent = held({}, a="1")
    for _ in range(2):
        await recent.get_many(ONE, [("a",)])
        await recent.statics(ONE, [("a",)])
        await recent.slice(ONE, ("a",), limit=1)

    assert len(store.asked) == 6


async def test_slices_from_a_position_are_read_each_time_and_the_beginning_is_the_reader_s_own_list():
    store, _, recent = held(a="1")
    for _ in range(2):
        (await recent.slice(ONE, ("a",), limit=5)).clear()
        await recent.slice(ONE, ("a",), limit=5, after=("x",))
    await recent.slice(ONE, ("a",), limit=6)

    assert await recent.slice(ONE, ("a",), limit=5) == [("a", "1")]
    assert len(store.asked) == 4


def pairs(*keys):
    return {(x, s, r): (x, s, r, number) for number, (x, s, r) in enumerate(keys)}


async def test_a_small_partition_is_read_once_for_all_questions_about_it():
    store, clock = Held(pairs("as1", "as2", "bt1")), Clock()
    recent = RecentStore(store, 1.0, WHOLE, now=clock)

    first = await recent.get_many(PAIR, [("a", "s"), ("a", "t"), ("b", "t"), ("c", "s")])
    whole = await recent.get_many(PAIR, [("a", "s", "2"), ("a", "s", "3"), ("b", "t", "1")])

    assert first == [("a", "s", "1", 0), None, ("b", "t", "1", 2), None]
    assert whole == [("a", "s", "2", 1), None, ("b", "t", "1", 2)]
    assert store.asked == [("whole", "a"), ("whole", "b"), ("whole", "c")]


async def test_of_a_large_partition_keys_are_read_and_kept():
    store, clock = Held(pairs("as1", "as2", "as3", "bt1")), Clock()
    store.rows["a", "s"] = store.rows["a", "s", "1"]
    recent = RecentStore(store, 1.0, WHOLE, now=clock)

    answers = [await recent.get_many(PAIR, [("b", "t"), ("a", "s"), ("b", "u")]) for _ in range(2)]
    clock.now += 30
    later = await recent.get_many(PAIR, [("a", "s")])
    clock.now += 31
    last = await recent.get_many(PAIR, [("a", "s")])

    assert answers == [[("b", "t", "1", 3), ("a", "s", "1", 0), None]] * 2
    assert later == last == [("a", "s", "1", 0)]
    whole, row = ("whole", "a"), ("row", "a", "s")
    assert store.asked == [("whole", "b"), whole, row, row, whole, row]


def test_memory_is_bounded_in_bytes_and_what_is_asked_for_stays():
    recent = Recent(100_000, tally := Tally())
    row = ("x" * 700,)
    for number in range(1_000):
        recent.keep(number, row, size_of(row), float(number), number - 50.0)
        recent.find([0], 0.0)
        assert recent.size <= 100_000

    assert 60 <= len(recent) <= 100
    assert recent.find([0], 0.0) == ([row], [])
    assert recent.find([900], 0.0) == ([None], [0])
    assert tally.evicted > 0
    assert recent.size == sum(entry[2] for kept in (recent._young, recent._old) for entry in kept.values())


def test_a_large_row_is_not_kept():
    recent = Recent(1 << 30, Tally())
    recent.keep("a", row := ("x" * 100_000,), size_of(row), 1.0, 0.0)

    assert recent.find(["a"], 0.0) == ([None], [0])
