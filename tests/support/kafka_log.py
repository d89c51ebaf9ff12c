"""The log on Kafka for tests: what its topics hold, entries put into `commits`, derive run to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from ingest.derive import did_of
from ingest.log_kafka.client import KafkaSettings, new_admin, new_consumer, new_producer
from ingest.log_kafka.derive.lane import PDS_HEADER
from ingest.log_kafka.derive.worker import DeriveWorker
from ingest.log_kafka.truncate import derived_to
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


async def append(settings: KafkaSettings, entries: Iterable[Entry], shards: int, pds: str | None = None) -> list[int]:
    """Put entries into `commits`, of a PDS of ours or of none; the offset of each."""
    producer = new_producer(settings)
    await producer.start()
    try:
        sent = []
        headers = [] if pds is None else [(PDS_HEADER, pds.encode())]
        for entry in entries:
            did = did_of(entry)
            sent.append(
                await producer.send(
                    settings.topic(COMMITS), encode(entry), did.encode(), shard_of(did, shards), headers=headers
                )
            )
        return [(await future).offset + 1 for future in sent]
    finally:
        await producer.stop()


async def derived(settings: KafkaSettings, shards: int) -> None:
    """Return once derive, in whatever process, has come to the end of `commits` as it is now."""
    ends = await ends_of(settings, COMMITS, shards)
    admin = new_admin(settings)
    await admin.start()
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await derived_to(settings, shards, admin)
                if all(found[shard] >= end for shard, end in ends.items()):
                    return
                await asyncio.sleep(0.02)
    finally:
        await admin.close()


async def run_derive(
    settings: KafkaSettings, directory: Path, shards: int, *, step: int = 1000, batch: int = 500
) -> DeriveWorker:
    """Derive all that is there, with a worker that has every shard; returned stopped."""
    worker = DeriveWorker(settings, directory, shards, only=range(shards), step=step, batch=batch)
    await worker.start()
    try:
        await caught_up(settings, worker, shards)
    finally:
        await worker.stop()
    return worker


async def caught_up(settings: KafkaSettings, worker: DeriveWorker, shards: int, seconds: float = PATIENCE) -> None:
    """Return once a worker that has every shard has come to the end of `commits` as it is now, or raise its failure."""
    ends = await ends_of(settings, COMMITS, shards)
    async with asyncio.timeout(seconds):
        while any(worker.places.get(shard, 0) < end for shard, end in ends.items()):
            if worker.failure is not None:
                raise worker.failure
            await asyncio.sleep(0.01)


async def ends_of(settings: KafkaSettings, name: str, shards: int) -> dict[int, int]:
    """The newest committed offset a shard."""
    consumer = new_consumer(settings)
    await consumer.start()
    try:
        partitions = [TopicPartition(settings.topic(name), shard) for shard in range(shards)]
        ends = await consumer.end_offsets(partitions)
        return {partition.partition: end for partition, end in ends.items()}
    finally:
        await consumer.stop()


async def drop_topics(settings: KafkaSettings) -> None:
    admin = new_admin(settings)
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if name.startswith(settings.topic(""))]
        if names:
            await admin.delete_topics(names)
    finally:
        await admin.close()
