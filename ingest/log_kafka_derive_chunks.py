"""Reads `commits` again for the chunks of a diff whose last one has come (EXACTNESS 17).

The first owner of a shard may have read the first chunks and another the last: what is not in the log is not
remembered. Holds one consumer, opened at the first diff of several chunks. Does not own which chunks make a diff
(`ingest.verdict.complete`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from ingest.log_kafka_client import KafkaSettings, new_consumer
from schemas.entries import Diff
from schemas.entry_codec import DIFF, VERSION, decode
from schemas.errors import InvariantError
from schemas.topics import COMMITS

_MARK = bytes((VERSION, DIFF))
_PAGE = 500
_PAGE_MS = 1000


class KafkaChunks:
    """`ingest.log_kafka_derive_batch.Chunks` of one shard."""

    def __init__(self, settings: KafkaSettings, shard: int) -> None:
        self._settings = settings
        self._partition = TopicPartition(settings.topic(COMMITS), shard)
        self._consumer: AIOKafkaConsumer | None = None

    async def find(self, first: int, last: int, did: str) -> list[tuple[int, Diff]]:
        """Those of the account, without their operations: a diff may be larger than memory."""
        found = []
        async for message in self._read(first, last):
            value = message.value
            if value is not None and value[:2] == _MARK and message.key == did.encode():
                chunk = decode(value)
                assert isinstance(chunk, Diff)
                found.append((message.offset + 1, msgspec.structs.replace(chunk, ops=())))
        return found

    async def load(self, offset: int) -> Diff:
        async for message in self._read(offset, offset):
            chunk = decode(message.value or b"")
            if isinstance(chunk, Diff):
                return chunk
        raise InvariantError(
            f"{self._partition.topic}[{self._partition.partition}]@{offset} held a diff's chunk and does not: "
            "it was truncated early"
        )

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def _read(self, first: int, last: int) -> AsyncIterator[ConsumerRecord]:
        """What is still there of a range that ends with a committed message."""
        if self._consumer is None:
            self._consumer = new_consumer(self._settings)
            await self._consumer.start()
            self._consumer.assign([self._partition])
        self._consumer.seek(self._partition, first - 1)
        while True:
            got = await self._consumer.getmany(self._partition, timeout_ms=_PAGE_MS, max_records=_PAGE)
            for message in got.get(self._partition, ()):
                if message.offset < last:
                    yield message
                if message.offset >= last - 1:
                    return
