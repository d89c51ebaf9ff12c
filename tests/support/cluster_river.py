"""The whole river of a cluster in one process: `commits` as they stand in an embedded log, derive, lanes, a CQL store.

Does not own the embedded log, nor what is compared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from ingest.derive import did_of
from ingest.log_kafka.client import KafkaSettings, new_producer
from ingest.log_kafka.derive.worker import DeriveWorker
from processors.run_plain import PlainRunner
from schemas import entry_codec
from schemas.entries import Entry
from schemas.operations import Operation
from schemas.topics import COMMITS, RECORDS
from tests.support.cluster_views import GENERATION, TABLES, caught_up, copy_operations, dropped, topics
from tests.support.fast_network import STEP
from tests.support.kafka_log import caught_up as derived_all
from tests.support.kafka_log import ends_of
from views import ALL
from views.store_scylla import CqlSettings, ScyllaStore
from views.view import FanoutSettings

SECONDS = 240.0


async def copy(kafka: KafkaSettings, commits: list[tuple[int, int, Entry]]) -> None:
    """Entries, each to the shard and the offset that it has in the log it comes from."""
    producer, sent = new_producer(kafka), []
    await producer.start()
    try:
        for shard, offset, entry in commits:
            key, value = did_of(entry).encode(), entry_codec.encode(entry)
            sent.append((offset, await producer.send(kafka.topic(COMMITS), value, key, partition=shard)))
        for offset, taken in sent:
            at = await taken
            assert at.offset + 1 == offset, f"commits: sent entry {offset} of shard {at.partition} to {at.offset + 1}"
    finally:
        await producer.stop()


async def copied(kafka: KafkaSettings, operations: list[tuple[int, Operation]], shards: int) -> list[int]:
    """Operations, each to its shard; the newest offset of each shard."""
    producer = new_producer(kafka)
    await producer.start()
    try:
        return [
            await copy_operations(kafka, producer, shard, [each for at, each in operations if at == shard])
            for shard in range(shards)
        ]
    finally:
        await producer.stop()


@asynccontextmanager
async def river(
    directory: Path,
    kafka: KafkaSettings,
    cql: CqlSettings,
    commits: list[tuple[int, int, Entry]],
    *,
    shards: int,
    settings: FanoutSettings,
    operations: list[tuple[int, Operation]] | None = None,
) -> AsyncIterator[tuple[ScyllaStore, DeriveWorker]]:
    """The views of these entries, complete; topics and keyspaces are gone afterwards."""
    async with AsyncExitStack() as ending:
        ending.push_async_callback(dropped, kafka, cql)
        await topics(kafka, shards)
        store = await ScyllaStore.open(cql, GENERATION, TABLES, create=True)
        ending.push_async_callback(store.close)
        derive = DeriveWorker(kafka, directory / "derive", shards, only=range(shards), step=STEP)
        ending.push_async_callback(derive.stop)
        await derive.start()
        runner = PlainRunner(kafka, store, ALL, generation=GENERATION, shards=shards, settings=settings)
        ending.push_async_callback(runner.stop)
        await runner.start()
        await copy(kafka, commits)
        operated = await copied(kafka, operations or [], shards)
        await derived_all(kafka, derive, shards, SECONDS)
        ends = await ends_of(kafka, RECORDS, shards)
        await caught_up(store, [*(ends[shard] for shard in range(shards)), *operated], runner, SECONDS)
        yield store, derive
