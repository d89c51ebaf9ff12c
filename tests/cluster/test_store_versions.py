"""On CQL an older write loses to a newer one, in whatever order they come: nobody's clock is asked (invariant 6)."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

import msgspec
import pytest

import views
from schemas.crash import ENVIRONMENT
from tests.support import cql_store
from tests.support.cql_store import versioned
from views import actors, big_authors, heads, likes_by_actor, recent_by_author, records
from views.store import Batch
from views.store_sqlite import SqliteStore

pytestmark = pytest.mark.cluster

TABLES = [view.table for view in views.ALL]
COUNTED = recent_by_author.TABLE
POINTER = big_authors.TABLE
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def settings(cql_address):
    settings = cql_store.settings_of(cql_address)
    cql_store.make(settings, TABLES)
    yield settings
    cql_store.remove(settings)


@pytest.fixture
async def store(settings):
    async with cql_store.opened(settings, TABLES) as store:
        yield store


@pytest.fixture
def did():
    """An account that no other test writes."""
    return f"did:plc:{random.getrandbits(120):024x}"


def batch(table, partition, rows=None, statics=None, *, at, vector=None):
    made = Batch(rows={}, statics={}, vector=vector or {}, marks={})
    if rows is not None:
        made.rows = {table: {partition: rows}}
    if statics is not None:
        made.statics = {table: {partition: statics}}
    return versioned(made, at)


@pytest.mark.parametrize("late", [0, 1])
async def test_of_a_put_and_a_delete_the_newer_entry_holds_whichever_comes_last(store, did, late):
    key = (did, 0, "s", "1")
    row = (*key, 1, 1, 1, "cid")
    put = batch(likes_by_actor.TABLE, key[:2], {key[2:]: row}, at=100)
    for delete_at, found in ((101, None), (99, row)):
        await cql_store.truncate(store, [likes_by_actor.TABLE])
        delete = batch(likes_by_actor.TABLE, key[:2], {key[2:]: None}, at=delete_at)
        for each in (put, delete)[:: -1 if late else 1]:
            await store.apply(each)

        assert await store.get_many(likes_by_actor.TABLE, [key]) == [found]


async def test_at_one_entry_the_put_wins_and_replays_change_nothing(store, did):
    key = (did, 0, "s", "1")
    row = (*key, 1, 1, 1, "cid")
    put = batch(likes_by_actor.TABLE, key[:2], {key[2:]: row}, at=100)
    delete = batch(likes_by_actor.TABLE, key[:2], {key[2:]: None}, at=100)

    for each in (put, delete, put, delete, delete):
        await store.apply(each)
        assert await store.get_many(likes_by_actor.TABLE, [key]) == [row]


async def test_a_row_that_is_all_key_comes_and_goes(store):
    key = (3, f"did:{random.random()}")
    for at, row in ((10, key), (11, None), (12, key), (13, None)):
        await store.apply(batch(POINTER, key[:1], {key[1:]: row}, at=at))
        assert await store.get_many(POINTER, [key]) == [row]
    await store.apply(batch(POINTER, key[:1], {key[1:]: key}, at=12))
    assert await store.get_many(POINTER, [key]) == [None]


async def test_an_older_put_with_a_value_does_not_fill_a_newer_null(store, did):
    new = (did, None, "active", 0, "", b"", b"", b"", b"", None, None, None)
    old = (did, "old.test", "active", 0, "old", b"o", b"o", b"o", b"o", "cid", "all", "all")
    await store.apply(batch(actors.TABLE, (did,), {(): new}, at=50))
    await store.apply(batch(actors.TABLE, (did,), {(): old}, at=49))

    assert await store.get_many(actors.TABLE, [(did,)]) == [new]


async def test_older_statics_lose_as_a_whole(store, did):
    await store.apply(batch(COUNTED, (did,), statics=(None, 3, 9), at=9))
    await store.apply(batch(COUNTED, (did,), statics=(77, 2, 8), at=8))

    assert await store.statics(COUNTED, [(did,)]) == [(None, 3, 9)]


async def test_statics_alone_are_no_row_and_deleting_all_rows_leaves_them(store, did):
    row = (did, 5, "uri", "", 0)
    await store.apply(batch(COUNTED, (did,), {row[1:4]: row}, (1, 0, 4), at=4))
    await store.apply(batch(COUNTED, (did,), {row[1:4]: None}, at=5))

    assert await store.slice(COUNTED, (did,), limit=3) == []
    assert await store.get_many(COUNTED, [row[:3]]) == [None]
    assert await store.statics(COUNTED, [(did,)]) == [(1, 0, 4)]


async def test_older_progress_and_marks_do_not_come_back(store):
    lane = ("edges", random.getrandbits(30))
    for at in (20, 19):
        made = Batch({}, {}, {lane: at}, {(*lane, "records", 3): (at, 1)}, watermarks={(*lane, 3): (at, at + 1)})
        await store.apply(versioned(made, at))

    progress = await store.progress_of(*lane)
    assert progress.vector == {lane: 20}
    assert progress.marks == {(*lane, "records", 3): (20, 1)}
    assert progress.watermarks == {(*lane, 3): (20, 21)}
    assert (await store.progress()).watermarks[*lane, 3] == (20, 21)
    assert (await store.progress_of("edges", -1)).vector == {}


async def test_a_higher_epoch_is_above_every_offset_of_a_lower_one(settings, store, did):
    await store.apply(batch(COUNTED, (did,), statics=(None, 1, 9_000_000), at=9_000_000))
    async with cql_store.opened(msgspec.structs.replace(settings, epoch=1), TABLES) as after:
        await after.apply(batch(COUNTED, (did,), statics=(None, 2, 1), at=1))
    await store.apply(batch(COUNTED, (did,), statics=(None, 3, 9_000_001), at=9_000_001))

    assert await store.statics(COUNTED, [(did,)]) == [(None, 2, 1)]


async def test_a_slice_longer_than_a_page_is_whole(store, did):
    rows = {(f"{n:06d}",): (did, "c", f"{n:06d}", "cid", b"v", "rev", n, n, "") for n in range(1_203)}
    await store.apply(batch(records.TABLE, (did, "c"), rows, at=1))

    assert await store.slice(records.TABLE, (did, "c"), limit=1_200) == list(rows.values())[:1_200]
    assert len(await store.slice(records.TABLE, (did, "c"), after=("000600",), limit=5_000)) == 602


def _value(rng, column, few):
    if column.kind == "int":
        return rng.randrange(few)
    text = rng.choice(["", "a", "b", "ä", "\x00z", "zz"][:few]) + str(rng.randrange(few))
    return text if column.kind == "text" else text.encode()


def _random_batch(rng, at):
    made = Batch({}, {}, {("records", 0): at}, {})
    for table in rng.sample(TABLES, 6):
        for _ in range(rng.randrange(1, 5)):
            row = [_value(rng, column, 2 + (i >= table.partition_size)) for i, column in enumerate(table.all_columns)]
            for place in range(table.key_size, len(row)):
                row[place] = None if rng.random() < 0.1 else row[place]
            row, size, end = tuple(row), table.partition_size, table.key_size
            kept = None if rng.random() < 0.3 else row
            made.rows.setdefault(table, {}).setdefault(row[:size], {})[row[size:end]] = kept
            if table.statics and rng.random() < 0.5:
                made.statics.setdefault(table, {})[row[:size]] = (*(rng.randrange(9) for _ in table.statics[1:]), at)
    return versioned(made, at)


async def test_the_same_batches_give_the_same_tables_on_sqlite_also_redone_and_late(store, tmp_path):
    rng = random.Random(1)
    await cql_store.truncate(store, TABLES)
    other = SqliteStore(tmp_path / "views.sqlite", TABLES)
    batches = [_random_batch(rng, at) for at in range(1, 60)]
    for each in batches:
        await other.apply(each)
    # On CQL any may come again, and all of the last ones out of order.
    order = [*batches[:40], *rng.sample(batches[:40], 10), *rng.sample(batches[40:], 19), *rng.sample(batches, 10)]
    for each in order:
        await store.apply(each)

    filled = 0
    for table in TABLES:
        key = table.key_size
        rows = sorted([row async for row in store.scan(table)], key=lambda row: row[:key])
        assert rows == sorted(other.scan(table), key=lambda row: row[:key]), table.name
        filled += bool(rows)
        if table.statics:
            kept = sorted([row async for row in store.scan_statics(table)], key=lambda row: row[: table.partition_size])
            assert kept == list(other.scan_statics(table)), table.name
    assert filled > len(TABLES) // 2
    await other.close()


CHILD = """
import asyncio, sys
from tests.cluster.test_store_versions import TABLES, torn
from tests.support import cql_store
from views.cql.settings import CqlSettings

async def main(host, port, keyspace, did):
    settings = CqlSettings(hosts=(host,), port=int(port), keyspace=keyspace, consistency="LOCAL_ONE")
    async with cql_store.opened(settings, TABLES) as store:
        await store.apply(torn(did))

asyncio.run(main(*sys.argv[1:]))
"""


def torn(did):
    """One batch with something in every wave."""
    made = Batch({}, {}, {("records", 9): 7}, {})
    for table in (heads.TABLE, likes_by_actor.TABLE, records.TABLE):
        key = [did if column.name in {"did", "actor"} else ("c" if column.kind == "text" else 0)
               for column in table.partition + table.clustering]  # fmt: skip
        rest = [b"v" if column.kind == "blob" else "v" if column.kind == "text" else 7 for column in table.columns]
        size = table.partition_size
        made.rows[table] = {tuple(key[:size]): {tuple(key[size:]): (*key, *rest)}}
    return versioned(made, 7)


WAVES = (heads.TABLE, likes_by_actor.TABLE, records.TABLE)


@pytest.mark.parametrize(
    ("point", "written"),
    [("lane.after_rows", 1), ("lane.after_deciding", 2), ("lane.after_before_images", 3)],
)
async def test_a_process_that_dies_between_two_waves_leaves_those_before_and_no_progress(
    settings, store, did, point, written
):
    await cql_store.truncate(store, WAVES)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, settings.hosts[0], str(settings.port), settings.keyspace, did,
        cwd=ROOT, env={**os.environ, ENVIRONMENT: f"{point}:1"}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await child.communicate()

    assert f"crash: {point}" in said.decode()
    found = [[row async for row in store.scan(table)] for table in WAVES]
    assert [len(rows) for rows in found] == [1] * written + [0] * (3 - written)
    assert (await store.progress_of("records", 9)).vector == {}
    await store.apply(torn(did))
    assert [len([row async for row in store.scan(table)]) for table in WAVES] == [1, 1, 1]
    assert (await store.progress_of("records", 9)).vector == {("records", 9): 7}
