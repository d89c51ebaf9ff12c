"""The log on Kafka for tests: what its topics hold, entries put into `commits`, derive run to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from ingest.derive import did_of
from ingest.log_kafka_client import KafkaSettings, new_admin, new_consumer, new_producer
from ingest.log_kafka_derive import DeriveWorker
from ingest.log_kafka_derive_lane import group_of
from schemas.entries import Derived, Entry, FirehoseEvent
from schemas.entry_codec import encode
from schemas.firehose_codec import decode_event
from schemas.records_codec import decode
from schemas.topics import COMMITS, FIREHOSE, RECORDS, shard_of

PATIENCE = 60


async def read_all(settings: KafkaSettings, name: str, shard: int = 0) -> list[ConsumerRecord]:
    """Every committed message of a partition, up to its end now."""
    partition = TopicPartition(settings.topic(name), shard)
    consumer = new_consumer(settings)
    await consumer.start()
    found: list[ConsumerRecord] = []
    try:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        await consumer.seek_to_beginning(partition)
        async with asyncio.timeout(PATIENCE):
            while await consumer.position(partition) < end:
                got = await consumer.getmany(partition, timeout_ms=200)
                found += got.get(partition, [])
    finally:
        await consumer.stop()
    return found


async def records_of(settings: KafkaSettings, shard: int) -> list[Derived]:
    messages = await read_all(settings, RECORDS, shard)
    entries = [decode(m.key, m.value, m.headers, m.offset + 1) for m in messages]
    return [entry for entry in entries if entry is not None]


async def firehose_of(settings: KafkaSettings) -> list[FirehoseEvent]:
    return [decode_event(m.value, m.offset + 1) for m in await read_all(settings, FIREHOSE)]


async def append(settings: KafkaSettings, entries: Iterable[tuple[Entry, str | None]], shards: int) -> list[int]:
    """Put (entry, the PDS that wrote it) into `commits`; the offset of each."""
    producer = new_producer(settings)
    await producer.start()
    try:
        sent = []
        for entry, pds in entries:
            did = did_of(entry)
            headers = [] if pds is None else [("pds", pds.encode())]
            sent.append(
                await producer.send(
                    settings.topic(COMMITS), encode(entry), did.encode(), shard_of(did, shards), headers=headers
                )
            )
        return [(await future).offset + 1 for future in sent]
    finally:
        await producer.stop()


async def derived(settings: KafkaSettings, shards: int) -> None:
    """Return once derive's group has committed up to the end of `commits` as it is now."""
    consumer, admin = new_consumer(settings), new_admin(settings)
    await consumer.start()
    await admin.start()
    try:
        partitions = [TopicPartition(settings.topic(COMMITS), shard) for shard in range(shards)]
        ends = await consumer.end_offsets(partitions)
        starts = await consumer.beginning_offsets(partitions)
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await admin.list_consumer_group_offsets(group_of(settings), partitions=partitions)
                if all(end == starts[p] or (p in found and found[p].offset >= end) for p, end in ends.items()):
                    return
                await asyncio.sleep(0.02)
    finally:
        await admin.close()
        await consumer.stop()


async def run_derive(settings: KafkaSettings, directory: Path, shards: int, *, step: int = 1000) -> DeriveWorker:
    """Derive all that is there, with a worker that has every shard; returned stopped."""
    worker = DeriveWorker(settings, directory, shards, only=range(shards), step=step)
    await worker.start()
    waiting = asyncio.ensure_future(derived(settings, shards))
    failed = asyncio.ensure_future(worker.stopped())
    await asyncio.wait((waiting, failed), return_when=asyncio.FIRST_COMPLETED)
    failed.cancel()
    await worker.stop()
    if worker.failure is not None:
        waiting.cancel()
        raise worker.failure
    await waiting
    return worker


async def drop_topics(settings: KafkaSettings) -> None:
    admin = new_admin(settings)
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if name.startswith(settings.topic(""))]
        if names:
            await admin.delete_topics(names)
    finally:
        await admin.close()
