"""Drops what no consumer of `commits` needs any more: never what is younger than 72 h, never by time alone.

Does not own when this runs, nor the hops, which are truncated behind stored progress by their own consumers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError

from ingest.log_kafka.client import KafkaSettings, new_admin, new_consumer
from ingest.log_kafka.topics import delete_records
from schemas.topics import COMMITS

COMMITS_KEPT_MS = 72 * 3_600_000
_COORDINATOR_SECONDS = 30
_PAUSE_SECONDS = 0.1
_MOVING = (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError)


def derive_group(settings: KafkaSettings) -> str:
    """The consumer group of derive. Its offsets are committed with what was derived, for those who watch and wait."""
    return settings.topic("derive")


async def derived_to(settings: KafkaSettings, shards: int, admin: AIOKafkaAdminClient | None = None) -> dict[int, int]:
    """By shard, the offset of `commits` up to which everything is derived, and behind which derive needs nothing.

    `admin`: one that is started, for who asks often.
    """
    client = admin or new_admin(settings)
    partitions = [TopicPartition(settings.topic(COMMITS), shard) for shard in range(shards)]
    try:
        if admin is None:
            await client.start()
        async with asyncio.timeout(_COORDINATOR_SECONDS):
            while True:
                try:
                    found = await client.list_consumer_group_offsets(derive_group(settings), partitions=partitions)
                    break
                except _MOVING:
                    await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        if admin is None:
            await client.close()
    # A group that has never committed may be answered with -1, or with nothing at all.
    return {each.partition: max(0, found[each].offset) if each in found else 0 for each in partitions}


async def truncate_commits(
    settings: KafkaSettings, shards: int, checkpoints: Mapping[str, Mapping[int, int]], now_ms: int
) -> dict[int, int]:
    """Drop what is older than 72 h and behind derive and every one of `checkpoints`; by shard, the oldest offset kept.

    `checkpoints` maps each consumer (a PDS) to the offset per shard that it is complete to; a shard it does not name
    is held whole. `now_ms` is unix milliseconds.
    """
    consumers = [await derived_to(settings, shards), *checkpoints.values()]
    consumer = new_consumer(settings)
    await consumer.start()
    try:
        partitions = [TopicPartition(settings.topic(COMMITS), shard) for shard in range(shards)]
        young = await consumer.offsets_for_times(dict.fromkeys(partitions, now_ms - COMMITS_KEPT_MS))
        ends = await consumer.end_offsets(partitions)
        oldest = await consumer.beginning_offsets(partitions)
    finally:
        await consumer.stop()
    kept: dict[int, int] = {}
    for partition in partitions:
        shard = partition.partition
        at = young[partition]
        by_age = ends[partition] if at is None else at.offset
        needed = min(consumer.get(shard, 0) for consumer in consumers)
        kept[shard] = max(oldest[partition], min(by_age, needed)) + 1
    await delete_records(settings, {(COMMITS, shard): offset for shard, offset in kept.items()})
    return kept
