"""Follows `records` of all shards into a relay's view, and tells how far derive has come in `commits`.

Where `records` end says nothing of what a relay wrote; the place that derive writes last in each transaction does. Does
not own the view (`ingest.log_kafka.relay.view`) nor what is made of a place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from ingest.log_kafka.client import KafkaSettings, new_consumer
from ingest.log_kafka.relay.view import RelayView
from schemas.records_codec import read
from schemas.topics import RECORDS

_PAGE = 2000
_POLL_MS = 500
_SAY_SECONDS = 15.0

_log = structlog.get_logger()


class Follower:
    """`await open()`, then `run` until cancelled; `reached` waits. `derived` is told of each place that comes."""

    def __init__(self, settings: KafkaSettings, view: RelayView, derived: Callable[[int], None]) -> None:
        self._settings = settings
        self._view = view
        self._derived = derived
        self._parts = [TopicPartition(settings.topic(RECORDS), shard) for shard in range(len(view.at))]
        self._consumer: AIOKafkaConsumer | None = None
        self._news = asyncio.Event()

    async def open(self, topic: str) -> None:
        """Where the view stands; one that stands where the log has nothing begins anew. `topic`: its id.

        Raises KafkaError, OSError or TimeoutError when the broker is away.
        """
        view = self._view
        # An offset that is no longer there is one that compaction took: the next one that is stands for it.
        self._consumer = consumer = new_consumer(self._settings)
        await consumer.start()
        consumer.assign(self._parts)
        ends = await consumer.end_offsets(self._parts)
        if any(view.at[part.partition] > end for part, end in ends.items()):
            _log.warning("the log does not hold what the relay's view goes on from: it is made anew")
            view.forget(topic)
        for part in self._parts:
            consumer.seek(part, view.at[part.partition])

    async def run(self) -> None:
        consumer = self._consumer
        assert consumer is not None
        while True:
            got = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_PAGE)
            for part, messages in got.items():
                shard = part.partition
                before = self._view.done[shard]
                page = [read(m.key, m.value, m.headers, m.offset + 1) for m in messages]
                self._view.take(shard, page, messages[-1].offset + 1)
                if self._view.done[shard] != before:
                    self._derived(shard)
                    self._news.set()
                await asyncio.sleep(0)

    async def reached(self, offsets: Sequence[int]) -> None:
        """Return once everything up to these offsets of `commits`, by shard, is derived and in the view."""
        while lacking := {shard: at for shard, at in enumerate(offsets) if self._view.done[shard] < at}:
            self._news.clear()
            try:
                async with asyncio.timeout(_SAY_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                done = {shard: self._view.done[shard] for shard in lacking}
                _log.warning("waiting for derive (headrace derive)", expected=lacking, derived=done)

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
