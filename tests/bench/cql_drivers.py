"""CQL drivers on this project's hot paths: what a lane writes for 500 entries, and what a page of a timeline reads.

`python -m tests.bench.cql_drivers HOST:PORT [DRIVER ...]`; drivers that are not installed are left out. Prints one line
a driver and path: rate, milliseconds of this process's CPU each, and the longest time the loop was held.
"""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
import sys
import time
from collections.abc import Awaitable, Callable

from views.cql.session import CqlSession
from views.cql.settings import CqlSettings

KEYSPACE = "b" + secrets.token_hex(4)
TABLES = (
    "posts (uri text PRIMARY KEY, cid text, json blob, sort_at bigint)",
    """timelines (did text, sort_at bigint, uri text, author text, PRIMARY KEY (did, sort_at, uri))
    WITH CLUSTERING ORDER BY (sort_at DESC, uri ASC)""",
    """interactions (subject text, kind bigint, sort_at bigint, actor text, likes bigint static, applied bigint static,
    PRIMARY KEY (subject, kind, sort_at, actor)) WITH CLUSTERING ORDER BY (kind ASC, sort_at DESC, actor ASC)""",
)
PUT_POST = "INSERT INTO {k}.posts (uri, cid, json, sort_at) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
PUT_TIMELINE = "INSERT INTO {k}.timelines (did, sort_at, uri, author) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
PUT_LIKE = "INSERT INTO {k}.interactions (subject, kind, sort_at, actor) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
PUT_COUNT = "INSERT INTO {k}.interactions (subject, likes, applied) VALUES (?, ?, ?) USING TIMESTAMP ?"
GET_POST = "SELECT uri, cid, json, sort_at FROM {k}.posts WHERE uri = ?"
GET_COUNT = "SELECT DISTINCT subject, likes, applied FROM {k}.interactions WHERE subject = ?"
GET_PAGE = "SELECT did, sort_at, uri, author FROM {k}.timelines WHERE did = ? LIMIT ?"
TEXTS = (PUT_POST, PUT_TIMELINE, PUT_LIKE, PUT_COUNT, GET_POST, GET_COUNT, GET_PAGE)

JSON = b'{"$type":"app.bsky.feed.defs#postView","text":"' + b"x" * 1200 + b'"}'
Asked = tuple[str, tuple]
Run = Callable[[list[list[Asked]]], Awaitable[list[list[tuple]]]]


def uri(n):
    return f"at://did:plc:{n % 97:024d}/app.bsky.feed.post/{n:013d}"


def writes(turn):
    """A lane's batch: 200 posts, 150 subjects with three likes and counts each, 1,000 timelines with one row."""
    at = turn << 4 | 1
    batches = [[(PUT_POST, (uri(n), "bafyrei" + "a" * 52, JSON, n, at))] for n in range(200)]
    for n in range(150):
        likes = [(PUT_LIKE, (uri(n), 0, turn * 10 + i, f"did:plc:{i:024d}", at)) for i in range(3)]
        batches.append([(PUT_COUNT, (uri(n), turn, turn, at)), *likes])
    dids = [f"did:plc:{n:024d}" for n in range(1000)]
    return batches + [[(PUT_TIMELINE, (did, turn, uri(turn), "did:plc:author", at))] for did in dids]


def page(turn):
    """50 pointers have been read: 30 posts and 30 subjects' counts at once."""
    first = turn * 7 % 100
    reads = [(GET_POST, (uri(first + n),)) for n in range(30)]
    return [[read] for read in (*reads, *((GET_COUNT, (uri(first + n),)) for n in range(30)))]


async def scylla_driver(host, port):
    session = await CqlSession.connect(CqlSettings(hosts=(host,), port=port, consistency="LOCAL_ONE"))
    statements = {text: await session.prepare(text.format(k=KEYSPACE)) for text in TEXTS}

    async def run(batches):
        return await session.run(
            [session.batch([statements[text].bind(values) for text, values in batch]) for batch in batches]
        )

    return run, session.close


async def acsylla(host, port):
    import acsylla as driver

    cluster = driver.create_cluster([host], port=port, retry_policy="fallthrough", consistency="LOCAL_ONE")
    session = await cluster.create_session()
    statements = {text: await session.create_prepared(text.format(k=KEYSPACE)) for text in TEXTS}
    gate = asyncio.Semaphore(256)

    def bound(text, values):
        statement = statements[text].bind()
        statement.bind_list(list(values))
        return statement

    async def one(batch):
        async with gate:
            if len(batch) == 1:
                result = await session.execute(bound(*batch[0]))
                return [tuple(row.as_list()) for row in result]
            unlogged = driver.create_batch_unlogged()
            for each in batch:
                unlogged.add_statement(bound(*each))
            await session.execute_batch(unlogged)
        return []

    async def run(batches):
        return await asyncio.gather(*map(one, batches))

    return run, session.close


async def rs_driver(host, port):
    from scylla.batch import Batch, BatchType
    from scylla.results import RowFactory
    from scylla.session_builder import SessionBuilder

    class Tuples(RowFactory):
        def build(self, columns):
            return tuple(column.value for column in columns)

    session = await SessionBuilder().contact_points((host, port)).connect()
    statements = {text: await session.prepare(text.format(k=KEYSPACE)) for text in TEXTS}
    gate, factory = asyncio.Semaphore(256), Tuples()

    async def one(batch):
        async with gate:
            if len(batch) == 1:
                text, values = batch[0]
                result = await session.execute(statements[text], values, factory=factory)
                return list(result.iter_current_page()) if text.startswith("SELECT") else []
            unlogged = Batch(BatchType.Unlogged)
            unlogged.add_all([(statements[text], values) for text, values in batch])
            await session.batch(unlogged)
        return []

    async def run(batches):
        return await asyncio.gather(*map(one, batches))

    async def close():
        pass

    return run, close


DRIVERS = {"scylla-driver": (scylla_driver, "cassandra"), "acsylla": (acsylla, "acsylla")}
DRIVERS["scylladb-rs-driver"] = (rs_driver, "scylla")


async def watch(held):
    """The longest time between two turns of the loop that should be a millisecond apart."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        held[0] = max(held[0], time.perf_counter() - before - 0.001)


async def measure(name, run, path, make, *, seconds, rows):
    await run(make(0))
    held = [0.0]
    watching = asyncio.create_task(watch(held))
    cpu, begun, turns, times = time.process_time(), time.perf_counter(), 0, []
    while time.perf_counter() - begun < seconds:
        turns += 1
        start = time.perf_counter()
        await run(make(turns))
        times.append(time.perf_counter() - start)
    spent, wall = time.process_time() - cpu, time.perf_counter() - begun
    watching.cancel()
    times.sort()
    print(
        f"{name:20} {path:12} {rows * turns / wall:9.0f} rows/s  p50 {times[len(times) // 2] * 1e3:7.1f} ms"
        f"  p99 {times[len(times) * 99 // 100] * 1e3:7.1f} ms  CPU {spent / turns * 1e3:7.1f} ms"
        f"  held {held[0] * 1e3:6.1f} ms",
        flush=True,
    )


async def main(address, names):
    host, _, port = address.rpartition(":")
    admin = await CqlSession.connect(CqlSettings(hosts=(host,), port=int(port), consistency="LOCAL_ONE"))
    await admin.admin(
        f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    try:
        for table in TABLES:
            await admin.admin(f"CREATE TABLE {KEYSPACE}.{table}")
        for name in names:
            make, module = DRIVERS[name]
            if importlib.util.find_spec(module) is None:
                print(f"{name}: not installed")
                continue
            run, close = await make(host, int(port))
            answers = await run(writes(1)) and await run(page(1))
            assert sum(map(len, answers)) == 60, f"{name} read {sum(map(len, answers))} rows of 60"
            await measure(name, run, "lane batch", writes, seconds=6, rows=1_800)
            await measure(name, run, "page of 60", page, seconds=4, rows=60)
            await close()
    finally:
        await admin.admin(f"DROP KEYSPACE {KEYSPACE}")
        await admin.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:] or list(DRIVERS)))
