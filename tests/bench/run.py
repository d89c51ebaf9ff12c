"""One run that prints every row of docs/performance.md, measured against `headrace up` in a subprocess.

Everything of the river is on in that one process (derive, projections, fan-out, metrics, rate limits raised by
settings). The load generator shares the machine's cores, as it did when the peers were measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

import orjson
import uvloop

from tests.bench.client import Connection, Figures, build, closed_loop, connect
from tests.bench.server import Server, start
from tests.bench.world import World, create, populate, post

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))
Step = Callable[[Connection, int, int], Awaitable[None]]


@dataclass
class Row:
    name: str
    value: float
    unit: str
    p50_ms: float | None = None
    p99_ms: float | None = None

    @classmethod
    def of(cls, name: str, figures: Figures, scale: int = 1, unit: str = "requests/s") -> Row:
        p50, p99 = figures.percentile(0.5), figures.percentile(0.99)
        return cls(name, round(figures.rate * scale, 1), unit, round(p50, 2), round(p99, 2))


def say(row: Row) -> Row:
    latency = "" if row.p50_ms is None else f"p50 {row.p50_ms:8.2f} ms   p99 {row.p99_ms:8.2f} ms"
    print(f"{row.name:<28} {row.value:>12,.1f} {row.unit:<14} {latency}", flush=True)
    return row


def posting(world: World, rng: random.Random) -> Step:
    async def step(connection: Connection, client: int, _turn: int) -> None:
        person = world.authors[client]
        record = post(rng, datetime.now(UTC))
        body = {"repo": person.did, "collection": "app.bsky.feed.post", "record": record}
        await connection.json(build("POST", "/xrpc/com.atproto.repo.createRecord", person.token, body))

    return step


def batching(world: World, rng: random.Random) -> Step:
    async def step(connection: Connection, client: int, _turn: int) -> None:
        person = world.authors[client]
        writes = [create("app.bsky.feed.post", post(rng, datetime.now(UTC))) for _ in range(10)]
        body = {"repo": person.did, "writes": writes}
        await connection.json(build("POST", "/xrpc/com.atproto.repo.applyWrites", person.token, body))

    return step


def reading(requests: list[bytes]) -> Step:
    async def step(connection: Connection, client: int, turn: int) -> None:
        status, body = await connection.send(requests[(client * 7919 + turn) % len(requests)])
        if status != 200:
            msg = f"a read answered {status}: {body[:300]!r}"
            raise RuntimeError(msg)

    return step


async def visible(server: Server, world: World, count: int) -> Figures:
    """From sending a createRecord to holding a getTimeline answer, of another account, that shows the post."""
    writer, reader = await connect(server.port, 2)
    author, watcher = world.authors[7], world.readers[3]
    look = build("GET", "/xrpc/app.bsky.feed.getTimeline?limit=30", watcher.token)
    rng, figures = random.Random(5), Figures()
    begin = time.perf_counter()
    for _ in range(count):
        record = post(rng, datetime.now(UTC))
        body = {"repo": author.did, "collection": "app.bsky.feed.post", "record": record}
        started = time.perf_counter()
        made = await writer.json(build("POST", "/xrpc/com.atproto.repo.createRecord", author.token, body))
        uri = str(made["uri"]).encode()
        while uri not in (await reader.send(look))[1]:
            pass
        figures.latencies.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(0.02)
    figures.seconds = time.perf_counter() - begin
    return figures


async def at_rate(rate: float, seconds: float, step: Step, connections: list[Connection]) -> None:
    """An open loop: arrivals do not wait for answers, beyond one in flight a connection."""
    free: asyncio.Queue[tuple[int, Connection]] = asyncio.Queue()
    for item in enumerate(connections):
        free.put_nowait(item)
    begin, tasks = time.perf_counter(), set()

    async def one(turn: int) -> None:
        client, connection = await free.get()
        await step(connection, client, turn)
        free.put_nowait((client, connection))

    for turn in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begin + turn / rate - time.perf_counter()))
        task = asyncio.create_task(one(turn))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


async def measure(server: Server, size: dict[str, int]) -> list[Row]:
    """All rows that need the running process; `size["records"]` is set to the entries of `records` at the end."""
    rng = random.Random(2)
    eight, many = await connect(server.port, 8), await connect(server.port, 32)
    world = await populate(eight)
    await server.settled()
    rows = [say(Row("create_account", round(world.accounts_per_second, 1), "accounts/s"))]

    def timeline(token: str | None) -> bytes:
        return build("GET", "/xrpc/app.bsky.feed.getTimeline?limit=30", token)

    services = [await server.service_token(eight[0], r.token, "app.bsky.feed.getTimeline") for r in world.readers]
    own = [timeline(token) for token in services]
    rows.append(say(Row.of("get_timeline_c8", await closed_loop(eight, reading(own), seconds=SECONDS))))
    rows.append(say(Row.of("get_timeline_c32", await closed_loop(many, reading(own), seconds=SECONDS))))
    through = [timeline(reader.token) for reader in world.readers]
    rows.append(say(Row.of("get_timeline_via_pds_c8", await closed_loop(eight, reading(through), seconds=SECONDS))))

    tokens = [reader.token for reader in world.readers]
    names = [author.did for author in world.authors]
    feeds = [
        build("GET", f"/xrpc/app.bsky.feed.getAuthorFeed?actor={did}&limit=30", tokens[i % len(tokens)])
        for i, did in enumerate(names)
    ]
    rows.append(say(Row.of("get_author_feed_c8", await closed_loop(eight, reading(feeds), seconds=SECONDS))))
    profiles = [
        build("GET", f"/xrpc/app.bsky.actor.getProfile?actor={did}", tokens[i % len(tokens)])
        for i, did in enumerate(names)
    ]
    rows.append(say(Row.of("get_profile_c8", await closed_loop(eight, reading(profiles), seconds=SECONDS))))
    path = f"/xrpc/app.bsky.feed.getPostThread?uri={quote(world.thread, safe='')}"
    threads = [build("GET", path, token) for token in tokens]
    rows.append(say(Row.of("get_post_thread_100_c8", await closed_loop(eight, reading(threads), seconds=SECONDS))))

    rows.append(say(Row.of("write_to_timeline", f := await visible(server, world, 100), unit="writes/s")))
    rows[-1].value = round(f.percentile(0.5), 2)
    rows[-1].unit = "ms (p50)"
    background = asyncio.gather(
        at_rate(400, SECONDS + 1, posting(world, rng), many[:16]),
        at_rate(400, SECONDS + 1, reading(through), many[16:]),
    )
    loaded = await visible(server, world, 100)
    await background
    rows.append(say(Row.of("write_to_timeline_loaded", loaded)))
    rows[-1].value, rows[-1].unit = round(loaded.percentile(0.5), 2), "ms (p50)"

    one = eight[:1]
    rows.append(say(Row.of("create_record_c1", await closed_loop(one, posting(world, rng), seconds=SECONDS))))
    rows.append(say(Row.of("create_record_c8", await closed_loop(eight, posting(world, rng), seconds=SECONDS))))
    rows.append(say(Row.of("create_record_c32", await closed_loop(many, posting(world, rng), seconds=SECONDS))))
    batches = await closed_loop(many, batching(world, rng), seconds=SECONDS)
    rows.append(say(Row.of("apply_writes_x10_c32", batches, scale=10, unit="records/s")))
    await server.settled()
    rows.append(say(Row("rss_mb", round(server.resident() / 1e6, 1), "MB")))
    size["records"] = await server.records()
    for connection in (*eight, *many):
        connection.close()
    return rows


def in_process(script: str, *arguments: str) -> Row:
    """A row measured by a script of its own, in a process of its own, which prints it as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{script}", *arguments], capture_output=True, check=True, cwd=ROOT
    )
    return say(Row(**orjson.loads(done.stdout.splitlines()[-1])))


def machine() -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.processor())
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        with start(Path(folder)) as server:
            size: dict[str, int] = {}
            rows = uvloop.run(measure(server, size))
        rows.append(say(Row("bytes_per_record", round(server.bytes_on_disk() / size["records"], 1), "bytes")))
        rows.append(in_process("index_records", folder))
    rows.append(in_process("verify_frames"))
    if options.json:
        document = {"rows": [asdict(row) for row in rows], "machine": machine(), "version": version("headrace")}
        options.json.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
