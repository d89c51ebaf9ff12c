"""Reads a partition from any offset, for those who do not follow it: rebuilds, audits, diffs, late subscribers.

Its consumer fetches only while somebody reads: a fetch that waits for news at the old place would hold up the first
one at a new place. Offsets are the log's, Kafka's + 1. Owns no meaning of what it reads.
"""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from ingest.log_kafka.client import MESSAGE_BYTES, KafkaSettings, forget_fetched, new_consumer

_WAIT_MS = 20


class PartitionReader:
    """One reader at a time; others wait. Connects at the first question.

    `fetch_bytes`: how much the broker sends at a time; 1 for those who want a single entry.
    """

    def __init__(self, settings: KafkaSettings, name: str, shard: int, *, fetch_bytes: int = MESSAGE_BYTES) -> None:
        self._settings = settings
        self._fetch_bytes = fetch_bytes
        self._partition = TopicPartition(settings.topic(name), shard)
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()
        self.reached = 0
        """Up to where the last reading has come: the newest offset read, or the end when there was no more."""

    async def read(self, after: int, limit: int) -> list[ConsumerRecord]:
        """At most `limit` committed messages above `after`, in order; none when there are none below the end."""
        async with self._turn:
            consumer = await self._started()
            partition = self._partition
            if self.reached != after:
                self.reached = after
                forget_fetched(consumer, partition)
                consumer.seek(partition, after)
            end = (await consumer.end_offsets([partition]))[partition]
            consumer.resume(partition)
            try:
                while (at := await consumer.position(partition)) < end:
                    got = await consumer.getmany(partition, timeout_ms=_WAIT_MS, max_records=limit)
                    if messages := got.get(partition):
                        self.reached = messages[-1].offset + 1
                        return list(messages)
                self.reached = at
            finally:
                consumer.pause(partition)
        return []

    async def bounds(self) -> tuple[int, int]:
        """(the offset behind which nothing is kept any more, the newest that readers may see)."""
        consumer, partition = await self._started(), self._partition
        begin = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        return begin, end

    async def close(self) -> None:
        if self._consumer is not None:
            forget_fetched(self._consumer, self._partition)
            await self._consumer.stop()
            self._consumer = None

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = new_consumer(self._settings, wait_ms=_WAIT_MS, fetch_bytes=self._fetch_bytes)
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            consumer.assign([self._partition])
            consumer.seek(self._partition, self.reached)
            consumer.pause(self._partition)
            self._consumer = consumer
        return self._consumer
