"""Puts entries into `commits` for a relay: an idempotent producer without transactions, which waits for all replicas.

An entry is acknowledged once it is in; until then it is sent again, however long the broker is away. A producer that
the broker no longer takes anything from is replaced, and what it had under way is sent anew: an entry may then be in
the log twice, which the verdict drops (docs/decisions/0018). Whoever has an account's next entry waits for the one
before it, so that its order holds. Does not own what is sent, nor the verdict.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, TopicAuthorizationFailedError

from ingest.log_kafka.client import KafkaSettings, new_producer, stop_producer
from ingest.log_kafka.reach import AWAY
from schemas.errors import InvariantError
from schemas.topics import COMMITS

_RETRY_SECONDS = 0.5
_STOP_SECONDS = 5.0
# What another producer would be told too.
_OURS = (MessageSizeTooLargeError, TopicAuthorizationFailedError)

_log = structlog.get_logger()


class Appender:
    """`await start()`, `put`, `await close()`. `repeated`: entries that were sent anew by another producer."""

    def __init__(self, settings: KafkaSettings, headers: Sequence[tuple[str, bytes]]) -> None:
        self._settings = settings
        self._topic = settings.topic(COMMITS)
        self._headers = list(headers)
        self._producer: AIOKafkaProducer | None = None
        self._turn = asyncio.Lock()
        self._closed = False
        self.repeated = 0

    async def start(self) -> None:
        """Raises KafkaError, OSError or TimeoutError when the broker is away."""
        self._producer = await self._started()

    async def put(self, shard: int, key: bytes, value: bytes) -> int:
        """HOT: the offset of the entry. Raises InvariantError for what no broker of these settings takes."""
        while True:
            producer = self._producer or await self._another(None)
            try:
                sent = await producer.send(self._topic, value, key, partition=shard, headers=self._headers)
                place = await sent
            except _OURS as error:
                raise InvariantError(
                    f"expected to write {len(value)} bytes to {self._topic}, found {error!r}: look at the topic's"
                    " max.message.bytes and whether this user may write to it (docs/topics.md)"
                ) from error
            except (KafkaError, OSError) as error:
                if self._closed:
                    raise
                self.repeated += 1
                _log.warning("an entry is sent anew: whether it is in the log is not known", cause=repr(error))
                await self._another(producer)
            else:
                offset: int = place.offset
                if offset >= 0:
                    return offset + 1
                # The broker has it and no longer knows where: a second one's place is known.
                self.repeated += 1

    async def close(self) -> None:
        self._closed = True
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)

    async def _another(self, failed: AIOKafkaProducer | None) -> AIOKafkaProducer:
        """The producer that serves now; `failed` does not."""
        async with self._turn:
            if self._producer is not None and self._producer is not failed:
                return self._producer
            self._producer = None
            if failed is not None:
                await _stop(failed)
                await asyncio.sleep(_RETRY_SECONDS)  # what the next one is told is not to be asked in a ring
            while True:
                try:
                    self._producer = await self._started()
                except AWAY as away:
                    _log.critical("the log is away: what hosts say waits", cause=repr(away))
                    await asyncio.sleep(_RETRY_SECONDS)
                else:
                    return self._producer

    async def _started(self) -> AIOKafkaProducer:
        producer = new_producer(self._settings)
        try:
            await producer.start()
        except BaseException:
            await _stop(producer)
            raise
        return producer


async def _stop(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(*AWAY):
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await stop_producer(producer)
        except TimeoutError:
            await producer.client.close()
