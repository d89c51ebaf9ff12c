"""Past the markers of transactions: a look, apart from the group, at whether the end of a shard holds any message.

For runners whose consumer does not say what it has passed over. Does not own when to look.
"""

from __future__ import annotations

import asyncio

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from ingest.log_kafka.client import KafkaSettings, new_consumer

_LOOK_MS = 250
_AWAY_SECONDS = 3.0


class Markers:
    """One consumer, one look at a time."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._consumer = new_consumer(kafka)
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        await self._consumer.start()

    async def stop(self) -> None:
        await self._consumer.stop()

    async def past(self, topic: str, partition: int, position: int) -> int:
        """Where the next message of the partition will be, if none is at or above `position`; else 0."""
        tp = TopicPartition(topic, partition)
        try:
            async with self._turn, asyncio.timeout(_AWAY_SECONDS):
                self._consumer.assign([tp])
                if (await self._consumer.end_offsets([tp]))[tp] <= position:
                    return 0
                self._consumer.seek(tp, position)
                if (await self._consumer.getmany(tp, timeout_ms=_LOOK_MS, max_records=1)).get(tp):
                    return 0
                return int(await self._consumer.position(tp))
        except (TimeoutError, KafkaError):
            return 0
