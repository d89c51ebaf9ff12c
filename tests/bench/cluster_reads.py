"""What reading a cluster's views costs: `python -m tests.bench.cluster_reads HOST:PORT [DRIVER ...]`.

A small network of the real mix is put into a keyspace of its own, without Kafka; then pages of 30 of timelines are
asked for as an AppView asks, without HTTP: statements a page by table and CPU of this process a page, with nothing
kept between requests, with what is kept for a second, and each page as if it were an AppView's first; in turn. Pages
are held against those that SQLite gives for the same rows. Nothing is asserted about speed.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec
import uvloop

from tests.bench.cluster_parts import as_an_appview
from tests.bench.cluster_world import MeasuredWorld
from tests.conftest import vectors_root
from tests.support.asking import InProcess
from tests.support.cql_store import drop_all, settings_of, versioned
from tests.views.conftest import World
from views import ALL
from views.store import Batch
from views.store_scylla import CqlSettings, ScyllaStore
from views.store_sqlite import SqliteStore

ACCOUNTS, FOLLOWS, EVENTS, PAGES = 200, 10, 3_000, 160
ROUNDS = 3
_TIMELINE = "app.bsky.feed.getTimeline"
TABLES = [view.table for view in ALL]


async def network(folder: Path) -> tuple[SqliteStore, list[str]]:
    """The views of so many accounts, and who they are."""
    store = SqliteStore(folder / "views.sqlite", TABLES)
    world, measured = World(store), MeasuredWorld(vectors_root(), ACCOUNTS)
    for entry in (*measured.beginning(FOLLOWS), *measured.events(EVENTS)):
        for op in entry.ops:
            collection, _, rkey = op.path.partition("/")
            if op.record is None:
                world.delete(f"at://{entry.did}/{op.path}")
            else:
                world.put(str(entry.did), collection, rkey, op.record)
    for repo in measured.repos:
        world.account(str(repo.did), f"p{repo.did[-4:]}.test")
    await world.run(400)
    return store, [str(repo.did) for repo in measured.repos]


async def copied(source: SqliteStore, target: ScyllaStore) -> None:
    """Every row and static of one store into another, a few hundred rows a batch."""
    for table in TABLES:
        rows, size = list(source.scan(table)), table.partition_size
        for start in range(0, len(rows), 500):
            batch = Batch({table: {}}, {}, {(table.source, 0): 1}, {})
            for row in rows[start : start + 500]:
                batch.rows[table].setdefault(row[:size], {})[row[size : table.key_size]] = row
            await target.apply(versioned(batch, 1))
        statics = {row[:size]: row[size:] for row in source.scan_statics(table)} if table.statics else {}
        if statics:
            await target.apply(versioned(Batch({}, {table: statics}, {(table.source, 0): 1}, {}), 1))


class Statements:
    """How many statements a store's session is given, by table."""

    def __init__(self, store: ScyllaStore) -> None:
        self.by_table: Counter[str] = Counter()
        session, prepare = store._session, store._session.prepare

        async def told_prepare(text, **more):
            made = await prepare(text, **more)
            bind, table = made.bind, text.partition('."')[2].partition('"')[0]

            class Told:
                @staticmethod
                def bind(values):
                    self.by_table[table] += 1
                    return bind(values)

            return Told

        session.prepare = told_prepare

    @property
    def count(self) -> int:
        return sum(self.by_table.values())


class Readers:
    """Pages of an AppView that keeps rows for so many seconds; `first`: each page as if it were its first."""

    def __init__(self, name: str, store: ScyllaStore, seconds: float, *, first: bool = False) -> None:
        self.name = name
        self._first = first
        self._views = as_an_appview(store, seconds)

    async def page(self, viewer: str) -> bytes:
        views = self._views.since(time.monotonic()) if self._first else self._views
        answer = await views.answer(_TIMELINE, viewer, limit=30)
        assert isinstance(answer, bytes)
        return answer


async def measure(driver: str, settings: CqlSettings, truth: InProcess, people: list[str]) -> None:
    store = await ScyllaStore.open(msgspec.structs.replace(settings, driver=driver), "g1", TABLES, create=False)
    asked = Statements(store)
    dice = random.Random(3)
    viewers = [dice.choice(people) for _ in range(PAGES)]
    ways = [
        Readers("nothing kept", store, 0.0),
        Readers("kept 1 s", store, 1.0),
        Readers("its first page", store, 1.0, first=True),
    ]
    for way in ways:
        for viewer in people[:20]:
            assert await way.page(viewer) == await truth.answer(_TIMELINE, viewer, limit=30), viewer
    for number in range(ROUNDS):
        for way in dice.sample(ways, len(ways)):
            await one_round(f"{driver} {number}", way, asked, viewers)
    await store.close()


async def one_round(name: str, way: Readers, asked: Statements, viewers: list[str]) -> None:
    asked.by_table.clear()
    waiting, items, latencies = iter(viewers), 0, []

    async def reader() -> None:
        nonlocal items
        for viewer in waiting:
            begun = time.perf_counter()
            found = await way.page(viewer)
            items += found.count(b'{"post":')
            latencies.append(time.perf_counter() - begun)

    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(reader() for _ in range(8)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - begun
    print(
        f"{name:16} {way.name:14} {asked.count / PAGES:6.1f} statements a page of {items / PAGES:.1f} items,"
        f" {cpu / PAGES * 1e3:6.2f} ms of CPU a page, {PAGES / wall:5.1f} pages/s,"
        f" p50 {sorted(latencies)[PAGES // 2] * 1e3:.0f} ms"
    )
    print("  " + ", ".join(f"{name} {n / PAGES:.1f}" for name, n in asked.by_table.most_common()))


async def main() -> None:
    address, drivers = sys.argv[1], sys.argv[2:] or ["scylla-driver"]
    host, port = address.split(":")
    settings = settings_of((host, int(port)))
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as held:
        source, people = await network(Path(held))
        store = await ScyllaStore.open(settings, "g1", TABLES, create=True)
        try:
            await copied(source, store)
            for driver in drivers:
                await measure(driver, settings, InProcess(source), people)
        finally:
            await store.close()
            await drop_all(settings, "g1")
            await source.close()


if __name__ == "__main__":
    uvloop.run(main())
