"""The contract of `views.store.Store`; every adapter runs it."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from schemas.errors import InvariantError
from tests.support import cql_store
from tests.support.stack import cql_address
from views.store import Batch
from views.store_cached import CachedStore
from views.store_sqlite import SqliteStore
from views.table import APPLIED, Table, blob, integer, text

MIXED = Table(
    "mixed",
    "records",
    partition=(text("p", ""),),
    clustering=(integer("a", "", descending=True), text("b", ""), integer("c", "", descending=True)),
    columns=(blob("v", ""),),
    statics=(integer("n", ""), APPLIED),
)
PAIR = Table("pair", "records", partition=(text("x", ""), integer("y", "")), clustering=(text("s", ""), text("r", "")))
SINGLE = Table("single", "edges", partition=(text("k", ""),), columns=(text("v", ""),))
TABLES = (MIXED, PAIR, SINGLE)
__all__ = ["cql_address"]


@pytest.fixture(scope="module")
def cql_settings(cql_address):
    """A keyspace of this module's, with the tables in it."""
    settings = cql_store.settings_of(cql_address)
    cql_store.make(settings, TABLES)
    yield settings
    cql_store.remove(settings)


@pytest.fixture(params=["sqlite", "cached", pytest.param("cql", marks=pytest.mark.cluster)])
async def store(request, tmp_path):
    if request.param == "cql":
        async with cql_store.opened(request.getfixturevalue("cql_settings"), TABLES) as made:
            yield cql_store.Versioned(made)
            await cql_store.truncate(made, TABLES)
        return
    made = SqliteStore(tmp_path / "views.sqlite", TABLES)
    yield (
        made if request.param == "sqlite" else CachedStore(made, dict.fromkeys(TABLES, 100), dict.fromkeys(TABLES, 100))
    )
    await made.close()


def batch(rows=None, statics=None, vector=None, marks=None):
    return Batch(rows=rows or {}, statics=statics or {}, vector=vector or {}, marks=marks or {})


def puts(table, rows, deletes=()):
    size, end = table.partition_size, table.key_size
    partitions = {}
    for row in rows:
        partitions.setdefault(row[:size], {})[row[size:end]] = row
    for key in deletes:
        partitions.setdefault(key[:size], {})[key[size:]] = None
    return {table: partitions}


async def test_rows_come_back_in_the_order_asked_with_none_for_the_missing(store):
    await store.apply(batch(puts(SINGLE, [(f"k{i}", str(i)) for i in range(700)])))
    asked = [f"k{i}" for i in random.Random(1).sample(range(1400), 1000)]

    got = await store.get_many(SINGLE, [(key,) for key in asked])

    assert got == [(key, key[1:]) if int(key[1:]) < 700 else None for key in asked]


@pytest.mark.parametrize("count", [1, 2, 5, 33, 300])
async def test_full_keys_of_several_columns_are_found(store, count):
    rows = [(f"x{i % 3}", i % 5, f"s{i}", f"r{i}") for i in range(count)]
    await store.apply(batch(puts(PAIR, rows)))

    assert await store.get_many(PAIR, [*rows, ("x0", 0, "s0", "other")]) == [*rows, None]


@pytest.mark.parametrize("count", [1, 2, 5, 33])
async def test_a_key_short_of_its_last_column_finds_the_first_row(store, count):
    rows = [("x", 1, f"s{i}", f"r{j}") for i in range(count) for j in (3, 1, 2)]
    await store.apply(batch(puts(PAIR, rows)))

    got = await store.get_many(PAIR, [("x", 1, f"s{i}") for i in range(count)] + [("x", 2, "s0")])

    assert got == [("x", 1, f"s{i}", "r1") for i in range(count)] + [None]


async def test_keys_of_one_partition_are_found_however_many_rows_stand_between_them(store):
    """Asked for together, so many duplicates of a first key leave no room for the ones behind it."""
    rows = [("x", 1, f"s{i:03}", f"r{j:02}") for i in range(150) for j in range(40 if i in {0, 70, 149} else 1)]
    await store.apply(batch(puts(PAIR, [*rows, ("y", 1, "s000", "r")])))
    asked = [f"s{i:03}" for i in random.Random(1).sample(range(160), 160)]

    got = await store.get_many(PAIR, [("x", 1, s) for s in asked] + [("y", 1, "s000"), ("z", 1, "s000")])
    twice = await store.get_many(PAIR, [("x", 1, "s001"), ("x", 1, "s070"), ("x", 1, "s001")])

    assert got[:-2] == [("x", 1, s, "r00") if s < "s150" else None for s in asked]
    assert got[-2:] == [("y", 1, "s000", "r"), None]
    assert twice == [("x", 1, "s001", "r00"), ("x", 1, "s070", "r00"), ("x", 1, "s001", "r00")]


async def test_full_keys_of_one_partition_in_mixed_order_are_found_beside_statics(store):
    rows = [(p, a, b, c, b"v") for p, a, b, c in itertools.product("pq", range(4), "wxyz", range(4))]
    absent = [(p, a, "no", a) for p in "pqr" for a in range(30)]
    await store.apply(batch(puts(MIXED, rows), statics={MIXED: {("p",): (1, 1), ("r",): (2, 2)}}))
    asked = [(row[:4], row) for row in rows] + [(key, None) for key in absent]
    random.Random(2).shuffle(asked)

    assert await store.get_many(MIXED, [key for key, _ in asked]) == [row for _, row in asked]


async def test_a_key_of_another_length_is_a_defect_and_said_so(store):
    with pytest.raises(InvariantError, match="pair is not looked up by 1"):
        await store.get_many(PAIR, [("x",)])


def _order(row):
    return (-row[1], row[2], -row[3])


async def test_every_slice_equals_the_one_taken_from_the_sorted_list(store):
    rows = [("p", a, b, c, b"v") for a, b, c in itertools.product(range(3), "xyz", range(3))]
    await store.apply(batch(puts(MIXED, [*rows, ("other", 1, "x", 1, b"")])))
    inside = sorted(rows, key=_order)
    bounds = [None] + [row[1 : 1 + n] for row in inside for n in (1, 2, 3)]

    def expected(after, until, reverse):
        order = [row[1:4] for row in inside]
        keyed = {key: _order((None, *key)) for key in order}

        def side(key, bound):
            left = keyed[key][: len(bound)]
            right = _order((None, *bound, *(0 if i == 2 else "" for i in range(len(bound), 3))))[: len(bound)]
            return (left > right) - (left < right)

        sign = -1 if reverse else 1
        kept = [
            key
            for key in order
            if (after is None or sign * side(key, after) > 0) and (until is None or sign * side(key, until) <= 0)
        ]
        return kept[::sign]

    for after, until, reverse in itertools.product(bounds[::3] + bounds[1::7], bounds[::4], (False, True)):
        got = await store.slice(MIXED, ("p",), after=after, until=until, limit=100, reverse=reverse)
        assert [row[1:4] for row in got] == expected(after, until, reverse), (after, until, reverse)


async def test_a_slice_may_fix_the_first_clustering_columns(store):
    rows = [("p", a, b, c, b"v") for a, b, c in itertools.product(range(3), "xyz", range(3))]
    await store.apply(batch(puts(MIXED, rows)))

    assert await store.slice(MIXED, ("p", 1, "y"), after=(2,), limit=1) == [("p", 1, "y", 1, b"v")]
    assert await store.slice(MIXED, ("p", 1, "y", 2), limit=5) == [("p", 1, "y", 2, b"v")]
    assert len(await store.slice(MIXED, ("p", 1), limit=4)) == 4


async def test_statics_live_without_rows_and_rows_without_statics(store):
    await store.apply(batch(puts(MIXED, [("a", 1, "x", 1, b"")]), {MIXED: {("b",): (7, 3)}}))

    assert await store.statics(MIXED, [("a",), ("b",), ("c",)]) == [None, (7, 3), None]
    assert await store.statics(MIXED, [("b",)]) == [(7, 3)]
    assert await store.slice(MIXED, ("b",), limit=1) == []


async def test_a_batch_writes_rows_statics_deletes_and_progress_at_once(store):
    await store.apply(batch(puts(SINGLE, [("a", "1"), ("b", "1")])))
    change = batch(
        puts(SINGLE, [("b", "2")], deletes=[("a",), ("gone",)]),
        vector={("records", 0): 9},
        marks={("edges", 0, "records", 0): (9, 1)},
    )

    await store.apply(change)
    await store.apply(change)

    assert await store.get_many(SINGLE, [("a",), ("b",)]) == [None, ("b", "2")]
    progress = await store.progress()
    assert progress.vector == {("records", 0): 9}
    assert progress.marks == {("edges", 0, "records", 0): (9, 1)}


async def test_a_batch_that_fails_leaves_nothing(store):
    with pytest.raises(Exception, match=r"columns|bindings|Incorrect"):
        await store.apply(batch(puts(SINGLE, [("a", "1"), ("b", "1", "too", "many")])))

    assert await store.get_many(SINGLE, [("a",)]) == [None]
    await store.apply(batch(puts(SINGLE, [("a", "1")])))
    assert await store.get_many(SINGLE, [("a",)]) == [("a", "1")]


async def test_rows_and_progress_are_there_after_opening_again(tmp_path):
    path = tmp_path / "again.sqlite"
    first = SqliteStore(path, TABLES)
    await first.apply(batch(puts(MIXED, [("p", 1, "x", 1, b"v")]), {MIXED: {("p",): (1, 2)}}, {("records", 1): 4}, {}))
    await first.close()

    second = SqliteStore(path, TABLES)

    assert await second.slice(MIXED, ("p",), limit=9) == [("p", 1, "x", 1, b"v")]
    assert await second.statics(MIXED, [("p",)]) == [(1, 2)]
    assert (await second.progress()).vector == {("records", 1): 4}
    await second.close()


async def test_a_reader_between_two_turns_of_a_large_batch_sees_none_of_it(store):
    if isinstance(store, cql_store.Versioned):
        pytest.skip("CQL has no transactions: readers there may see a batch in part")
    rows = [(f"k{i}", "v" * 200) for i in range(20_000)]
    seen = set()

    async def watch():
        first = None
        while first is None:
            # One statement: between two of them the batch may have been committed.
            first, last = await store.get_many(SINGLE, [("k0",), ("k19999",)])
            seen.add((first is None, last is None))
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await store.apply(batch(puts(SINGLE, rows)))
    await watching

    assert seen == {(True, True), (False, False)}
    assert (await store.get_many(SINGLE, [("k0",), ("k19999",)])) == [rows[0], rows[-1]]


async def test_other_declarations_are_refused_with_the_cure(tmp_path):
    path = tmp_path / "shape.sqlite"
    store = SqliteStore(path, TABLES)
    await store.close()

    with pytest.raises(InvariantError, match="move it away"):
        SqliteStore(path, TABLES[:1])
