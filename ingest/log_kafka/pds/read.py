"""Reads ranges of a topic's shards, read_committed, each up to an end that was seen before.

An end is the high watermark, not the last stable offset: while another's transaction is open in a shard, what we have
committed behind it is below the first and not below the second. A read waits until that transaction has ended.
Offsets are Kafka's + 1. Does not own what is read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Self

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from ingest.log import LogAwayError
from ingest.log_kafka.client import KafkaSettings, new_consumer

Headers = Sequence[tuple[str, bytes]]

PATIENCE = 60.0
_POLL_MS = 200
_GLANCE_MS = 10
_PAGE = 2000


class Message(msgspec.Struct, frozen=True, gc=False):
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class ShardReader:
    """Reads one topic; any number of reads at a time. Use it in an `async with`.

    A consumer is assigned once, for one read: aiokafka's may hang in its stop when it was assigned again shortly before
    (its fetcher swallows the cancellation while it waits for the fetches of the old assignment).
    """

    def __init__(self, settings: KafkaSettings, topic: str, shards: int) -> None:
        self._settings = settings
        self._asker: AIOKafkaConsumer = new_consumer(settings)
        self._parts = [TopicPartition(settings.topic(topic), shard) for shard in range(shards)]

    async def __aenter__(self) -> Self:
        try:
            await self._asker.start()
        except BaseException:
            await self._asker.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._asker.stop()

    async def begins(self) -> list[int]:
        """By shard, the offset of the last entry that is not kept any more."""
        found = await self._asker.beginning_offsets(self._parts)
        return [found[part] for part in self._parts]

    async def stable_ends(self) -> list[int]:
        """By shard, the offset up to which no transaction is open."""
        found = await self._asker.end_offsets(self._parts)
        return [found[part] for part in self._parts]

    async def ends(self) -> list[int]:
        """By shard, the offset of the newest entry, of open transactions too. Raises LogAwayError."""
        async with _patience(), self._assigned(self._parts, wait_ms=_GLANCE_MS) as consumer:
            await consumer.seek_to_end(*self._parts)
            while None in (found := [consumer.highwater(part) for part in self._parts]):
                await consumer.getmany(timeout_ms=_POLL_MS)
            return [max(end, await consumer.position(part)) for end, part in zip(found, self._parts, strict=True)]

    async def read(self, shard: int, after: int, end: int) -> AsyncGenerator[list[Message], None]:
        """Pages of what is committed above `after` and up to `end`. Raises LogAwayError when none comes for long."""
        if after >= end:
            return
        part, at = self._parts[shard], after
        async with self._assigned([part]) as consumer:
            consumer.seek(part, after)
            while at < end:
                async with _patience():
                    found: list[ConsumerRecord] = []
                    while not found and await consumer.position(part) <= at:
                        got = await consumer.getmany(part, timeout_ms=_POLL_MS, max_records=_PAGE)
                        found = got.get(part, [])
                at = await consumer.position(part)
                page = [Message(m.offset + 1, m.key, m.value, m.headers) for m in found if m.offset < end]
                if page:
                    yield page

    @contextlib.asynccontextmanager
    async def _assigned(
        self, parts: list[TopicPartition], *, wait_ms: int = _POLL_MS
    ) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = new_consumer(self._settings, wait_ms=wait_ms)
        try:
            await consumer.start()
            consumer.assign(parts)
            yield consumer
        finally:
            await consumer.stop()


@contextlib.asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError as late:
        raise LogAwayError("absent", f"the log gave nothing for {PATIENCE:.0f} s; try again later") from late
