"""CPU and statements of an event in lanes: `python -m tests.bench.cluster_lanes HOST:PORT [DRIVER ...]`.

All lanes of two shards in this process, over a real store and hops in memory, in batches of sixty: once filled from
the beginning, once by lanes that have just taken their shards. Drivers in turn, `--rounds` times; each line is one
round. `--profile FILE` writes where the CPU of the last round went. Does not own processes nor Kafka.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import os
import random
import secrets
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from ingest.log_sqlite.log import SqliteLog
from processors.lanes.stages import Message
from schemas.topics import EDGES, FANOUT, RECORDS
from tests.bench.cluster_parts import Asked
from tests.bench.cluster_world import MeasuredWorld
from tests.conftest import vectors_root
from tests.support.cluster_views import GENERATION, TABLES
from tests.support.cql_store import drop_all, replaced
from tests.support.lane_rig import MemoryHops, Rig
from views.store_scylla import CqlSettings, ScyllaStore
from views.view import FanoutSettings

SHARDS = 2
ACCOUNTS = 100


async def logged(folder: Path, events: int) -> tuple[list[list[Message]], list[list[Message]]]:
    """By shard, the messages of the beginning and of everything."""
    log = await SqliteLog.open(folder / "log.sqlite", shards=SHARDS)
    world = MeasuredWorld(vectors_root(), ACCOUNTS)
    rig = _rig(None)  # type: ignore[arg-type] - it reads the log alone
    await asyncio.gather(*(log.append(entry) for entry in world.beginning(6)))
    await rig.read(log)
    beginning = list(rig.records)
    await asyncio.gather(*(log.append(entry) for entry in world.events(events)))
    await rig.read(log)
    await log.close()
    return beginning, list(rig.records)


def _rig(store: ScyllaStore) -> Rig:
    return Rig(store, MemoryHops(random.Random(0)), SHARDS, FanoutSettings(), random.Random(0))  # type: ignore[arg-type]


async def settle(rig: Rig, batch: int) -> None:
    async def drain(topic: str, shard: int) -> None:
        lane = await rig.lane(topic, shard)
        while await rig.step(lane, batch):
            pass

    for topic in (RECORDS, EDGES, FANOUT):
        await asyncio.gather(*(drain(topic, shard) for shard in range(SHARDS)))


async def one_round(
    settings: CqlSettings, beginning: list[list[Message]], everything: list[list[Message]], batch: int, profile: str
) -> None:
    settings = replaced(settings, keyspace="bench" + secrets.token_hex(4))
    store = await ScyllaStore.open(settings, GENERATION, TABLES, create=True)
    rig, asked, sofar = _rig(store), Asked(store), 0
    try:
        half = [
            [m for m in every if m.offset <= (every[-1].offset + first[-1].offset) // 2]
            for first, every in zip(beginning, everything, strict=True)
        ]
        for what, records in (("beginning", beginning), ("events", half), ("handed over", everything)):
            if what == "handed over":
                rig.lanes.clear()
            rig.records = records
            for topic in (RECORDS, EDGES, FANOUT):
                for shard in range(SHARDS):
                    await rig.lane(topic, shard)
            profiled = cProfile.Profile() if profile and what == "events" else None
            gc.collect()
            before, cpu, clock = asked.statements, time.process_time(), time.perf_counter()
            with asked:
                if profiled:
                    profiled.enable()
                await settle(rig, batch)
                if profiled:
                    profiled.disable()
                    profiled.dump_stats(profile)
            cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
            number = sum(map(len, records)) - sofar
            sofar += number
            print(
                f"{settings.driver:14} {what:12} {number:6} entries  {cpu / number * 1e6:7.0f} us of CPU an entry"
                f"  {(asked.statements - before) / number:5.2f} statements  {number / clock:6.0f} entries/s"
                f"  load {os.getloadavg()[0]:.0f}",
                flush=True,
            )
    finally:
        await store.close()
        await drop_all(settings, GENERATION)


async def main(options: argparse.Namespace) -> None:
    host, _, port = options.store.rpartition(":")
    with TemporaryDirectory(prefix="headrace-bench-") as folder:
        beginning, everything = await logged(Path(folder), options.events)
    for _ in range(options.rounds):
        for driver in options.drivers:
            settings = CqlSettings(hosts=(host,), port=int(port), driver=driver)
            await one_round(settings, beginning, everything, options.batch, options.profile)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("drivers", nargs="*", default=["scylla-driver", "acsylla"])
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--profile", default="")
    uvloop.run(main(parser.parse_args()))
