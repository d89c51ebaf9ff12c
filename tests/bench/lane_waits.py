"""How long a lane waits for its store in a batch, CPU apart: `python -m tests.bench.lane_waits`.

The clock of the loop is made up: whatever a lane asks takes as long as is said here, working takes no time, so that the
figures are those of any machine, however busy. Lanes of one shard over SQLite that writes in the waves of a CQL store;
events in the mix of the network. Each line: of one topic and one size of batches, milliseconds a batch and what would
come through one lane in a second, were waiting all that it does.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import selectors
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ingest.log_sqlite.log import SqliteLog
from schemas.topics import EDGES, FANOUT, RECORDS
from tests.bench.cluster_world import MeasuredWorld
from tests.conftest import vectors_root
from tests.support.lane_rig import MemoryHops, Rig, Torn
from views.cql.order import waves
from views.store import Batch
from views.table import Key, Row, Table
from views.view import FanoutSettings

READ, WRITE, SEND = 0.002, 0.004, 0.003  # seconds there and back


class MadeUpClock(asyncio.SelectorEventLoop):
    """Nobody waits: time goes on to the next timer when there is nothing else to do."""

    def __init__(self) -> None:
        self._now = 0.0
        selector = selectors.DefaultSelector()
        select = selector.select

        def at_once(timeout: float | None = None) -> Any:
            if timeout is None:
                return select(None)
            self._now += timeout
            return select(0)

        selector.select = at_once  # type: ignore[method-assign]
        super().__init__(selector)

    def time(self) -> float:
        return self._now


class Far(Torn):
    """Answers after a while, each question by itself."""

    async def get_many(self, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        await asyncio.sleep(READ)
        return await super().get_many(table, keys)

    async def statics(self, table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        await asyncio.sleep(READ)
        return await super().statics(table, partitions)

    async def slice(self, table: Table, partition: Key, **asked: Any) -> list[Row]:
        await asyncio.sleep(READ)
        return await super().slice(table, partition, **asked)

    async def reach(self, topic: str, shard: int, offset: int) -> None:
        await asyncio.sleep(WRITE)
        await super().reach(topic, shard, offset)

    async def apply(self, batch: Batch) -> None:
        await asyncio.sleep(WRITE * (1 + sum(bool(wave) for wave in waves(batch))))
        await super().apply(batch)


class FarHops(MemoryHops):
    async def send(self, messages: Any) -> None:
        await asyncio.sleep(SEND)
        await super().send(messages)


async def drained(rig: Rig, topic: str, size: int) -> tuple[int, int, float]:
    """Batches, messages, seconds."""
    lane = await rig.lane(topic, 0)
    begun, batches, entries = asyncio.get_running_loop().time(), lane.batches, lane.entries
    while await rig.step(lane, size):
        lane._told_at = float("inf")  # what is told in between is not the batch's
    return lane.batches - batches, lane.entries - entries, asyncio.get_running_loop().time() - begun


async def measured(log: SqliteLog, beginning: int, size: int, folder: Path, *, handed_over: bool) -> None:
    dice = random.Random(0)
    rig = Rig(Far(folder / f"views-{size}-{handed_over}"), FarHops(dice), 1, FanoutSettings(), dice)  # type: ignore[arg-type]
    await rig.read(log)
    everything = rig.records[0]
    rig.records[0] = everything[:beginning]
    for topic in (RECORDS, EDGES, FANOUT):
        await drained(rig, topic, 500)
    rig.records[0] = everything
    if handed_over:
        rig.lanes.clear()
    for topic in (RECORDS, EDGES, FANOUT):
        batches, messages, seconds = await drained(rig, topic, size)
        print(
            f"{'handed over' if handed_over else 'from the beginning':18} {topic:8} {batches:4} batches of"
            f" {messages / batches:5.1f}  {seconds / batches * 1000:8.1f} ms a batch "
            f" {messages / seconds:7.0f} messages/s"
        )
    await rig.store.close()


async def main(options: argparse.Namespace) -> None:
    with TemporaryDirectory(prefix="headrace-bench-") as held:
        folder = Path(held)
        log = await SqliteLog.open(folder / "log.sqlite", shards=1)
        world = MeasuredWorld(vectors_root(), options.accounts)
        await asyncio.gather(*(log.append(entry) for entry in world.beginning(6)))
        beginning = len(await log.read_records(0, 0, 1_000_000))
        await asyncio.gather(*(log.append(entry) for entry in world.events(options.events)))
        for handed_over in (False, True):
            for size in options.sizes:
                await measured(log, beginning, size, folder, handed_over=handed_over)
        await log.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--events", type=int, default=1_500)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 100, 500])
    with asyncio.Runner(loop_factory=MadeUpClock) as runner:
        runner.run(main(parser.parse_args()))
