"""What an AppView writes into `operations` of a cluster: idempotent, on all replicas, in the shard of its owner.

Connects at the first call, so that an AppView reads without a broker. A producer that has failed is replaced: what it
was given may take effect or not, and a later call of the same key decides (EXACTNESS 23). Does not own what is written
(`api.appview.operating`) nor who reads it (`processors.lanes`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ingest.log import LogAwayError, Operated
from ingest.log_kafka.client import KafkaSettings, heard, new_producer
from schemas import crash
from schemas.operations import Operation, encode
from schemas.topics import OPERATIONS, shard_of

_SECONDS: Final = 5.0  # a caller is answered before the PDS in front of it gives up
_MOST: Final = 1_000  # calls under way
_GOODBYE_SECONDS: Final = 3.0

_log = structlog.get_logger(__name__)


def _unix_micros() -> int:
    return time.time_ns() // 1000


class KafkaOperations:
    """`ingest.log.Operator`. `close` it."""

    def __init__(
        self,
        settings: KafkaSettings,
        shards: int,
        *,
        now: Callable[[], int] = _unix_micros,
        seconds: float = _SECONDS,
    ) -> None:
        self._settings = settings
        self._topic = settings.topic(OPERATIONS)
        self._shards = shards
        self._now = now
        self._seconds = seconds
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()
        self._busy = 0

    async def operate(self, operation: Operation) -> Operated:
        """Durable when it returns. Raises LogAwayError."""
        if self._busy >= _MOST:
            raise LogAwayError("absent", f"{self._busy} operations wait for the log; try again")
        self._busy += 1
        try:
            return await self._operate(operation)
        finally:
            self._busy -= 1

    async def _operate(self, operation: Operation) -> Operated:
        shard, now = shard_of(operation.did, self._shards), self._now()
        key, value, headers = encode(msgspec.structs.replace(operation, time=now))
        producer = None
        try:
            async with asyncio.timeout(self._seconds):
                producer = await self._started()
                crash.point("operations.before_send")
                sending = await producer.send(self._topic, value, key=key, headers=headers, partition=shard)
                # A caller that goes does not take the message with it.
                told = await asyncio.shield(heard(sending))
                crash.point("operations.after_send")
        except (KafkaError, OSError, TimeoutError) as error:
            _log.warning("operations.away", shard=shard, error=repr(error))
            self._give_up(producer)
            raise LogAwayError(
                "absent" if producer is None else "unknown", "The log does not answer; try again"
            ) from error
        return Operated(shard, told.offset + 1, now)

    async def close(self) -> None:
        """Within a bound, the broker away or not."""
        self._give_up(self._producer)
        if self._ending:
            await asyncio.wait(self._ending)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = new_producer(self._settings)
                try:
                    await producer.start()
                except BaseException:
                    self._end(producer)
                    raise
                self._producer = producer
            return self._producer

    def _give_up(self, producer: AIOKafkaProducer | None) -> None:
        if producer is not None and producer is self._producer:
            self._producer = None
            self._end(producer)

    def _end(self, producer: AIOKafkaProducer) -> None:
        ending = asyncio.create_task(_stop(producer))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


async def _stop(producer: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(_GOODBYE_SECONDS):
            await producer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        _log.warning("operations.no_goodbye", error=repr(error))
