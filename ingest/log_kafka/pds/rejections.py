"""Follows `rejections`: entries of this cluster's PDSes that derive refused, by account.

For one of ours somebody else has written to the account: `refused(did)` is awaited, which closes and mends it. The
place is kept with the heads, so that what was refused while this PDS was down is not missed. Does not own the mending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ingest.log import LogAwayError
from ingest.log_kafka.client import KafkaSettings, new_consumer
from ingest.log_kafka.pds.heads import OwnHeads
from schemas.syntax import Did
from schemas.topics import REJECTIONS

_RETRY_SECONDS = 1.0
_log = structlog.get_logger()


class Rejections:
    """`count` is of rejections of entries of ours since the start."""

    def __init__(self, settings: KafkaSettings, heads: OwnHeads, refused: Callable[[Did], Awaitable[None]]) -> None:
        self._settings = settings
        self._heads = heads
        self._refused = refused
        self.count = 0
        self.failure: BaseException | None = None
        self.task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        self.task = asyncio.get_running_loop().create_task(self._run(), name="pds-rejections")
        return self.task

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while True:
                consumer = new_consumer(self._settings)
                try:
                    await consumer.start()
                    await self._follow(consumer)
                except (KafkaError, OSError, TimeoutError) as away:
                    _log.warning("rejections cannot be read for the moment", cause=repr(away))
                finally:
                    await consumer.stop()
                await asyncio.sleep(_RETRY_SECONDS)
        except Exception as error:  # noqa: BLE001 - an account that may not be written to must not go on
            self.failure = error

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        part = TopicPartition(self._settings.topic(REJECTIONS), 0)
        consumer.assign([part])
        consumer.seek(part, self._heads.rejections)
        while True:
            for message in (await consumer.getmany(part, timeout_ms=1000)).get(part, []):
                did = Did((message.key or b"").decode())
                if message.value is not None and self._heads.known(did):
                    self.count += 1
                    _log.critical("the log refused an entry of ours: another writer of the account exists", did=did)
                    await self._mend(did)
                self._heads.put({}, {}, rejections=message.offset + 1)

    async def _mend(self, did: Did) -> None:
        while True:
            try:
                await self._refused(did)
            except (KafkaError, OSError, TimeoutError, LogAwayError) as away:
                _log.warning("an account stays closed until the log is back", did=did, cause=repr(away))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return
