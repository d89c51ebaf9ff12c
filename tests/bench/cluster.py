"""The cluster from commit to view: `python -m tests.bench.cluster [--json FILE]`, the rows of docs/performance.md.

Derive and one or two workers are processes of their own; broker, store and the load share the machine with them.
HEADRACE_TEST_KAFKA and HEADRACE_TEST_CQL name a stack that runs, else one is started. The limits of the broker and of
the store are measured in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import orjson
import uvloop

from ingest.log_kafka.client import KafkaSettings, new_producer
from ingest.log_kafka.topics import ensure_hops
from schemas import entry_codec
from schemas.entries import Commit
from schemas.topics import COMMITS, RECORDS, shard_of
from tests.bench import cluster_limits
from tests.bench.client import Figures
from tests.bench.cluster_parts import Asked, as_an_appview, reading, spent, stack, until
from tests.bench.cluster_world import MeasuredWorld
from tests.bench.run import ROOT, Row, machine, say
from tests.conftest import vectors_root
from tests.support.cluster_views import GENERATION, TABLES, dropped, topics
from tests.support.cql_store import drop_all
from tests.support.kafka_log import derived, ends_of
from tests.support.network import _die_with_parent
from views.complete import complete
from views.store_scylla import CqlSettings, ScyllaStore
from views.timeline_read import TimelineReader

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
SHARDS = 4
ACCOUNTS = int(400 * SCALE)
FOLLOWS = 10
EVENTS = int(6_000 * SCALE)
RATE = 400
SECONDS = 8.0 * SCALE
FANNED = int(1_500 * SCALE)
REBUILT = "g2"


class Bench:
    """One cluster: topics, a keyspace, processes; gone at the end."""

    def __init__(self, servers: str, cql: str, folder: Path) -> None:
        self.folder = folder
        self.cql_address = cql
        name, (host, port) = "bench" + secrets.token_hex(4), cql.split(":")
        self.kafka = KafkaSettings(servers=servers, cluster=name)
        self.cql = CqlSettings(hosts=(host,), port=int(port), keyspace=name)
        self.world = MeasuredWorld(vectors_root(), ACCOUNTS)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.rows: list[Row] = []

    def say(self, name: str, value: float, unit: str, figures: Figures | None = None) -> None:
        p50 = None if figures is None else round(figures.percentile(0.5), 1)
        p99 = None if figures is None else round(figures.percentile(0.99), 1)
        self.rows.append(say(Row(name, round(value, 1), unit, p50, p99)))

    def start(self, kind: str, generation: str = GENERATION, environment: dict[str, str] | None = None):
        """A process; `joined` waits until it says that it runs."""
        arguments = (kind, self.kafka.servers, self.kafka.cluster, self.cql_address, generation, str(SHARDS))
        with (self.folder / f"{kind}{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.cluster_worker", *arguments, str(self.folder / "derive")],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing is locked by a thread of ours here
            )
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    async def send(self, entries: Iterable[Commit]) -> int:
        """Into `commits`, all acknowledged; how many."""
        topic, sent = self.kafka.topic(COMMITS), []
        for entry in entries:
            key = entry.did.encode()
            future = await self.producer.send(topic, entry_codec.encode(entry), key, shard_of(entry.did, SHARDS))
            sent.append(future)
        await asyncio.gather(*sent)
        return len(sent)

    async def shown(self, store: ScyllaStore | None = None) -> None:
        """Return when all that is in `commits` now is in every view."""
        store = store or self.store
        await derived(self.kafka, SHARDS)
        ends = await ends_of(self.kafka, RECORDS, SHARDS)

        async def there() -> bool:
            found = complete(await store.progress(), SHARDS)
            return all(found[shard] >= end for shard, end in ends.items())

        await until(there)

    async def records(self) -> int:
        return sum((await ends_of(self.kafka, RECORDS, SHARDS)).values())

    async def rate(self, events: list[Commit]) -> float:
        begun = time.perf_counter()
        await self.send(events)
        await self.shown()
        return len(events) / (time.perf_counter() - begun)

    async def run(self) -> None:
        await topics(self.kafka, SHARDS)
        self.store = await ScyllaStore.open(self.cql, GENERATION, TABLES, create=True)
        self.producer = new_producer(self.kafka)
        await self.producer.start()
        try:
            await self._measure()
        finally:
            self.end()
            await self.producer.stop()
            await self.store.close()
            await drop_all(self.cql, REBUILT)
            await dropped(self.kafka, self.cql)

    async def _measure(self) -> None:
        world = self.world
        self.start("derive")
        first = self.start("process")
        await self.send(world.beginning(FOLLOWS))
        await self.shown()
        profile = os.environ.get("HEADRACE_BENCH_PROFILE")
        before = [spent(process) for process in self.processes]
        borne = await self.rate([*world.events(EVENTS)])
        self.say("commit_to_view_1_worker", borne, "events/s")
        used = [spent(process) - was for process, was in zip(self.processes, before, strict=True)]
        for name, seconds in zip(("derive", "worker"), used, strict=True):
            self.say(f"cpu_{name}", seconds / EVENTS * 1e6, "us/event")
        await self._timelines()
        await self._write_to_timeline(min(RATE, borne / 2))
        await self._fan_out()
        await self._rebuild()
        second = self.start("process", environment={"HEADRACE_BENCH_PROFILE": profile} if profile else None)
        await self._shared(second)
        self.say("commit_to_view_2_workers", await self.rate([*world.events(EVENTS)]), "events/s")
        begun = time.perf_counter()
        first.send_signal(signal.SIGKILL)
        await self.rate([*world.events(RATE)])
        self.say("recovery_after_kill", time.perf_counter() - begun, "s")
        second.terminate()
        await asyncio.to_thread(second.wait)

    async def _shared(self, second: subprocess.Popen[bytes]) -> None:
        """The second worker has taken its part of the shards."""
        log = self.folder / f"process{self.processes.index(second)}.log"

        async def ready() -> bool:
            return "ready" in log.read_text()

        await until(ready)
        await asyncio.sleep(8)  # the group gives shards away at the next heartbeat after it was joined
        await self.rate([*self.world.events(100)])

    async def _timelines(self) -> None:
        """Pages of 30 as an AppView answers them, without HTTP; eight at once."""
        store = await ScyllaStore.open(reading(self.cql), GENERATION, TABLES, create=False)
        network, figures, dice, asked = as_an_appview(store), Figures(), random.Random(3), Asked(store)
        end = time.perf_counter() + SECONDS / 2

        async def reader() -> None:
            while time.perf_counter() < end:
                begun = time.perf_counter()
                viewer = str(dice.choice(self.world.repos).did)
                await network.ask("app.bsky.feed.getTimeline", viewer, limit=30)
                figures.latencies.append((time.perf_counter() - begun) * 1000)

        begun, cpu = time.perf_counter(), time.process_time()
        with asked:
            await asyncio.gather(*(reader() for _ in range(8)))
        count = len(figures.latencies)
        cpu = time.process_time() - cpu
        await store.close()
        self.say("timelines_c8", count / (time.perf_counter() - begun), "requests/s", figures)
        self.say("cpu_timeline", cpu / count * 1e6, "us/request")
        self.say("timeline_statements", asked.statements / count, "a request")

    async def _write_to_timeline(self, rate: float) -> None:
        """From sending a post to a page of a follower's timeline with it, while so many events a second come."""
        world, timelines, figures = self.world, TimelineReader(self.store), Figures()
        author, reader = world.repos[-1], world.repos[-2]
        await self.rate([world.follow(reader, author)])
        begun, sent = time.perf_counter(), 0

        async def load() -> None:
            nonlocal sent
            for turn in range(int(SECONDS * 20)):
                await asyncio.sleep(max(0.0, begun + turn / 20 - time.perf_counter()))
                sent += await self.send(world.events(max(1, int(rate / 20))))

        loading = asyncio.create_task(load())
        while not loading.done():
            started = time.perf_counter()
            entry = world.post(author)
            uri = f"at://{author.did}/{entry.ops[0].path}"
            await self.send([entry])

            async def there(uri: str = uri) -> bool:
                return any(item.uri == uri for item in (await timelines.page(str(reader.did), None, 10)).items)

            await until(there)
            figures.latencies.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(0.05)
        await loading
        reached = sent / (time.perf_counter() - begun)
        self.say("write_to_timeline_loaded", figures.percentile(0.5), "ms (p50)", figures)
        self.say("write_to_timeline_at", reached, "events/s")
        await self.shown()

    async def _fan_out(self) -> None:
        """Rows of timelines a second when one author with many followers posts, sent to acknowledged."""
        world, author = self.world, self.world.repos[-3]
        fresh = MeasuredWorld(vectors_root(), ACCOUNTS + FANNED, seed=2).repos[ACCOUNTS:]
        await self.send(world.follow(repo, author) for repo in fresh)
        await self.shown()
        posts = [world.post(author) for _ in range(10)]
        begun = time.perf_counter()
        await self.send(posts)
        await self.shown()
        self.say("fan_out", len(posts) * FANNED / (time.perf_counter() - begun), "rows/s")

    async def _rebuild(self) -> None:
        """Entries of `records` a second into a new generation, from its worker's first to the last."""
        await ensure_hops(self.kafka, REBUILT, SHARDS)
        store = await ScyllaStore.open(self.cql, REBUILT, TABLES, create=True)
        worker = self.start("process", REBUILT)

        async def begun_there() -> bool:
            return bool((await store.progress()).vector)

        await until(begun_there)
        begun, before = time.perf_counter(), sum(complete(await store.progress(), SHARDS))
        await self.shown(store)
        self.say("rebuild", (await self.records() - before) / (time.perf_counter() - begun), "records/s")
        worker.terminate()
        await asyncio.to_thread(worker.wait)
        await store.close()


async def measure(servers: str, cql: str, folder: Path) -> list[Row]:
    bench = Bench(servers, cql, folder)
    limits = KafkaSettings(servers=servers, cluster=bench.kafka.cluster + "l")
    rows = [*await cluster_limits.broker(limits), *await cluster_limits.store(bench.cql, SECONDS / 4)]
    for row in rows:
        say(row)
    await bench.run()
    return [*rows, *bench.rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-", ignore_cleanup_errors=True) as held:
        folder = Path(held)
        with stack(folder) as (servers, cql), suppress(KeyboardInterrupt):
            rows = uvloop.run(measure(servers, cql, folder))
            if options.json:
                document = {"rows": [asdict(row) for row in rows], "machine": machine(), "version": version("headrace")}
                options.json.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
