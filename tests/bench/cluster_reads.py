"""What reading a cluster's views costs: `python -m tests.bench.cluster_reads HOST:PORT [DRIVER ...]`.

A small network of the real mix is put into a keyspace of its own, without Kafka; then pages of 30 of timelines are
asked for as an AppView asks, without HTTP: statements a page by table, CPU of this process a page and a statement.
Each page is held against the one that SQLite gives for the same rows. Nothing is asserted about speed.
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
from views.store_scylla import ScyllaStore
from views.store_sqlite import SqliteStore

ACCOUNTS, FOLLOWS, EVENTS, PAGES = 200, 10, 3_000, 160
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


async def measure(driver: str, settings, truth: InProcess, people: list[str]) -> None:
    store = await ScyllaStore.open(msgspec.structs.replace(settings, driver=driver), "g1", TABLES, create=False)
    asked = Statements(store)
    views = as_an_appview(store)
    dice = random.Random(3)
    viewers = [dice.choice(people) for _ in range(PAGES)]
    for viewer in people[:20]:
        found = await views.ask("app.bsky.feed.getTimeline", viewer, limit=30)
        assert found == await truth.ask("app.bsky.feed.getTimeline", viewer, limit=30), viewer
    asked.by_table.clear()
    waiting, items, latencies = iter(viewers), 0, []

    async def reader() -> None:
        nonlocal items
        for viewer in waiting:
            begun = time.perf_counter()
            found = await views.ask("app.bsky.feed.getTimeline", viewer, limit=30)
            items += len(found["feed"])
            latencies.append(time.perf_counter() - begun)

    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(reader() for _ in range(8)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - begun
    print(
        f"{driver:14} {asked.count / PAGES:6.1f} statements a page of {items / PAGES:.1f} items,"
        f" {cpu / PAGES * 1e3:6.1f} ms of CPU a page, {cpu / asked.count * 1e6:5.0f} us a statement,"
        f" {PAGES / wall:5.1f} pages/s, p50 {sorted(latencies)[PAGES // 2] * 1e3:.0f} ms"
    )
    print("  " + ", ".join(f"{name} {n / PAGES:.1f}" for name, n in asked.by_table.most_common()))
    await store.close()


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
