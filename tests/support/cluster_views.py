"""A random network's `records` in Kafka, a generation in the CQL store, and how to know that it holds all of them.

Does not own the network, nor who fills the generation.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from ingest.log_kafka_client import KafkaSettings, new_producer
from ingest.log_kafka_topics import drop_hops, ensure_hops, ensure_topics
from processors.digest import comparable, digests, measure
from schemas import records_codec
from schemas.topics import RECORDS
from tests.oracle import seen
from tests.oracle.answers import Answers
from tests.oracle.compare import Comparison, Watch
from tests.support.asking import InProcess
from tests.support.fast_network import FastNetwork, dids
from tests.support.random_network import RandomNetwork
from views import ALL
from views.complete import complete
from views.store_scylla import CqlSettings, ScyllaStore

GENERATION = "g1"
TABLES = [view.table for view in ALL]


async def made_network(directory: Path, seed: int, *, shards: int, steps: int, accounts: int = 6) -> FastNetwork:
    """Into `directory`, which is there."""
    network = await FastNetwork(directory, dids(accounts), shards).open()
    await network.begin()
    for step in RandomNetwork(random.Random(seed), network.dids, network.now).steps(steps):
        await network.do(step)
    await network.settle()
    return network


async def produce(kafka: KafkaSettings, network: FastNetwork, shares: int = 4) -> list[int]:
    """All of a network's `records`, in `shares` transactions and between aborted ones; returns the newest offsets."""
    producer = new_producer(kafka, transactional_id=f"{kafka.cluster}-test")
    await producer.start()
    ends = [0] * network.shards
    try:
        for shard in range(network.shards):
            entries = await network.log.read_records(shard, 0, 1_000_000)
            size = len(entries) // shares + 1
            for start in range(0, len(entries), size):
                part = entries[start : start + size]
                # What comes to nothing: the part itself, and something that no reader could decode.
                await producer.begin_transaction()
                for message in part[:20]:
                    await _send(producer, kafka, shard, message)
                await producer.send_and_wait(kafka.topic(RECORDS), b"\xff", key=b"never", partition=shard)
                await producer.abort_transaction()
                await producer.begin_transaction()
                sent = [await _send(producer, kafka, shard, message) for message in part]
                await producer.commit_transaction()
                ends[shard] = (await sent[-1]).offset + 1
    finally:
        await producer.stop()
    return ends


async def _send(producer, kafka, shard, entry):
    key, value, headers = records_codec.encode(entry)
    return await producer.send(kafka.topic(RECORDS), value, key=key, headers=headers, partition=shard)


async def topics(kafka: KafkaSettings, shards: int) -> None:
    await ensure_topics(kafka, shards)
    await ensure_hops(kafka, GENERATION, shards)


async def caught_up(store: ScyllaStore, ends: list[int], runner=None, seconds: float = 60.0) -> None:
    """Every view holds every entry up to `ends`."""
    async with asyncio.timeout(seconds):
        while not all(a >= b for a, b in zip(complete(await store.progress(), len(ends)), ends, strict=True)):
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


async def dropped(kafka: KafkaSettings, cql: CqlSettings) -> None:
    await drop_hops(kafka, GENERATION)
    await ScyllaStore.drop(cql, GENERATION)
