"""A random network's `records` in Kafka, a generation in the CQL store, and how to know that it holds all of them.

Does not own the network, nor who fills the generation.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from pathlib import Path

from aiokafka import AIOKafkaProducer

from ingest.log_kafka.client import KafkaSettings, new_admin, new_producer
from ingest.log_kafka.topics import ensure_hops, ensure_topics
from processors.digest import comparable, digests, measure
from schemas import operations, records_codec
from schemas.operations import Operation
from schemas.topics import OPERATIONS, RECORDS
from tests.oracle import seen
from tests.oracle.answers import Answers
from tests.oracle.compare import Comparison, Watch
from tests.support.asking import InProcess
from tests.support.cql_store import drop_all
from tests.support.fast_network import FastNetwork, dids
from tests.support.random_network import Habits, RandomNetwork
from views import ALL
from views.complete import complete, complete_operations
from views.store_scylla import CqlSettings, ScyllaStore

GENERATION = "g1"
TABLES = [view.table for view in ALL]


async def made_network(directory: Path, seed: int, *, shards: int, steps: int, accounts: int = 6) -> FastNetwork:
    """Into `directory`, which is there."""
    network = await FastNetwork(directory, dids(accounts), shards).open()
    await network.begin()
    habits = Habits(operate=8)
    for step in RandomNetwork(random.Random(seed), network.dids, network.now, habits).steps(steps):
        await network.do(step)
    await network.settle()
    return network


class Feed:
    """Copies a network's `records` into Kafka as derive does: in transactions, and between some that are aborted.

    And its `operations`, as an AppView does.
    """

    def __init__(self, kafka: KafkaSettings, network: FastNetwork) -> None:
        self._kafka = kafka
        self._network = network
        self._sent = [0] * network.shards
        self.ends = [0] * network.shards * 2
        """The newest offset of each shard of `records`, then of `operations`."""
        self._operated = [0] * network.shards

    async def send(self, most: int = 1_000_000) -> int:
        """At most so many more entries of each shard; returns how many there were."""
        operated = await self._operations()
        producer = new_producer(self._kafka, transactional_id=f"{self._kafka.cluster}-test")
        await producer.start()
        number = 0
        try:
            for shard in range(self._network.shards):
                entries = await self._network.log.read_records(shard, self._sent[shard], most)
                if not entries:
                    continue
                # What comes to nothing: some of the part itself, and something that no reader could decode.
                await producer.begin_transaction()
                for entry in entries[:20]:
                    await self._append(producer, shard, entry)
                topic = self._kafka.topic(RECORDS)
                await producer.send_and_wait(topic, b"\xff", key=b"never", partition=shard)
                await producer.abort_transaction()
                await producer.begin_transaction()
                sent = [await self._append(producer, shard, entry) for entry in entries]
                await producer.commit_transaction()
                self.ends[shard] = (await sent[-1]).offset + 1
                self._sent[shard] = entries[-1].offset
                number += len(entries)
        finally:
            await producer.stop()
        return number + operated

    async def _operations(self) -> int:
        producer, number = new_producer(self._kafka), 0
        await producer.start()
        try:
            for shard in range(self._network.shards):
                entries = await self._network.log.read_operations(shard, self._operated[shard], 1_000_000)
                end = await copy_operations(self._kafka, producer, shard, entries)
                if entries:
                    self._operated[shard] = entries[-1].offset
                    self.ends[self._network.shards + shard] = end
                number += len(entries)
        finally:
            await producer.stop()
        return number

    async def _append(self, producer, shard, entry):
        key, value, headers = records_codec.encode(entry)
        return await producer.send(self._kafka.topic(RECORDS), value, key=key, headers=headers, partition=shard)


async def copy_operations(
    kafka: KafkaSettings, producer: AIOKafkaProducer, shard: int, entries: Iterable[Operation]
) -> int:
    """In order; the offset of the last, 0 when there is none."""
    sent = None
    for entry in entries:
        key, value, headers = operations.encode(entry)
        sent = await producer.send(kafka.topic(OPERATIONS), value, key=key, headers=headers, partition=shard)
    return 0 if sent is None else (await sent).offset + 1


async def topics(kafka: KafkaSettings, shards: int, generation: str = GENERATION) -> None:
    await ensure_topics(kafka, shards)
    await ensure_hops(kafka, generation, shards)


async def caught_up(store: ScyllaStore, ends: list[int], runner=None, seconds: float = 60.0) -> None:
    """Every view holds every entry up to `ends`: of the shards of `records`, then of `operations`."""
    shards = len(ends) // 2
    async with asyncio.timeout(seconds):
        while True:
            progress = await store.progress()
            found = complete(progress, shards) + complete_operations(progress, shards)
            if all(a >= b for a, b in zip(found, ends, strict=True)):
                return
            if runner is not None and runner.failure is not None:
                raise runner.failure
            await asyncio.sleep(0.05)


async def same_rows(store: ScyllaStore, network: FastNetwork, context: str) -> None:
    found = {view.name: (await measure(store, view.table)).digest() for view in comparable(ALL)}
    assert found == digests(network.store, ALL), context


async def same_timelines(store: ScyllaStore, network: FastNetwork, context: str, seed: int = 0) -> None:
    """Of timelines the answers are compared: their rows depend on the order between shards."""
    model = await network.read()
    asked = InProcess(store)
    comparison = Comparison(model, asked, network.dids, random.Random(seed), watch=Watch(), context=context)
    for viewer in network.dids:
        says = Answers(comparison.frozen, viewer)
        found = await comparison._pages("feed.getTimeline", viewer, "feed", seen.item, limit=7)
        comparison._same(viewer, "getTimeline", found, says.get_timeline())
    assert asked.asked > len(network.dids)


async def dropped(kafka: KafkaSettings, cql: CqlSettings, generation: str = GENERATION) -> None:
    """All topics of the cluster and the generation's keyspace."""
    admin = new_admin(kafka)
    await admin.start()
    try:
        await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(f"{kafka.cluster}.")])
    finally:
        await admin.close()
    await drop_all(cql, generation)
