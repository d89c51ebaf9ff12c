"""Reads `firehose`: `ingest.log.FirehoseReader` over Kafka, for any number of replicas that serve subscribeRepos.

`seq = base + offset`, with the offset Kafka's + 1: every replica gives an event the same number, and goes on giving it
after a failover. The newest events are in memory, bounded; older ones are read page by page, by a few readers that are
each at the place of one late subscriber. `newest` is always the seq of an event, not of a transaction's marker: who has
read it has read all. Does not own subscribers (`api.firehose`).
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from ingest.changes import LoopChanges
from ingest.log_kafka.client import KafkaSettings, new_consumer
from ingest.log_kafka.reach import AWAY
from ingest.log_kafka.reader import PartitionReader
from schemas.entries import FirehoseEvent
from schemas.firehose_codec import decode_event
from schemas.topics import FIREHOSE

TAIL_EVENTS = 8192
TAIL_BYTES = 8 << 20
MAX_READ = 5000
_LATE_READERS = 4
_BACK = 256
_POLL_MS = 500
_OLDEST_SECONDS = 30.0

_log = structlog.get_logger()


class KafkaFirehose:
    """Make one with `await KafkaFirehose.open(...)`; `close` it.

    `base` is a setting of the cluster: 0, and when its log is ever replaced, the last seq that the old one served.
    """

    def __init__(self, settings: KafkaSettings, base: int) -> None:
        self._settings = settings
        self._base = base
        self._partition = TopicPartition(settings.topic(FIREHOSE), 0)
        self._late = [PartitionReader(settings, FIREHOSE, 0) for _ in range(_LATE_READERS)]
        self._first = PartitionReader(settings, FIREHOSE, 0, fetch_bytes=1)
        # Parallel lists; `_floor` is the newest seq that is no longer in them.
        self._seqs: list[int] = []
        self._events: list[FirehoseEvent] = []
        self._bytes = 0
        self._floor = 0
        self._newest = 0
        self._oldest = (0, 0)
        self._changed = LoopChanges(tuple, lambda: self._newest)
        self._consumer: AIOKafkaConsumer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, settings: KafkaSettings, base: int = 0) -> KafkaFirehose:
        """At the newest event. Raises KafkaError when the broker is away."""
        firehose = cls(settings, base)
        try:
            end = await firehose._find_newest()
            firehose._consumer = consumer = new_consumer(settings)
            await consumer.start()
            consumer.assign([firehose._partition])
            consumer.seek(firehose._partition, end)
            await firehose._find_oldest()
        except BaseException:
            await firehose.close()
            raise
        create = asyncio.get_running_loop().create_task
        firehose._tasks = [
            create(firehose._follow(consumer), name="firehose.follow"),
            create(firehose._keep_oldest(), name="firehose.oldest"),
        ]
        return firehose

    @property
    def changed(self) -> LoopChanges:
        return self._changed

    def firehose_bounds(self) -> tuple[int, int, int]:
        """(oldest seq, newest seq, oldest time); the oldest are 0 when none is kept."""
        return (self._oldest[0], self._newest, self._oldest[1])

    async def read_firehose(self, after_seq: int, limit: int) -> list[FirehoseEvent]:
        """HOT: from memory if `after_seq` is not far behind."""
        if after_seq >= self._floor:
            at = bisect_right(self._seqs, after_seq)
            return self._events[at : at + limit]
        after = max(0, after_seq - self._base)
        reader = next((each for each in self._late if each.reached == after), self._late[0])
        self._late.remove(reader)
        self._late.append(reader)  # the one that was used longest ago comes first
        messages = await reader.read(after, min(limit, MAX_READ))
        return [decode_event(message.value, self._base + message.offset + 1) for message in messages]

    async def stopped(self) -> BaseException:
        """Waits until it has stopped by itself, and says why."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        failed = [task.exception() for task in done if not task.cancelled()]
        cause = next((each for each in failed if each is not None), None)
        return cause or RuntimeError("the firehose's reader was closed")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for reader in (*self._late, self._first):
            await reader.close()
        if self._consumer is not None:
            await self._consumer.stop()

    async def _find_newest(self) -> int:
        """Put the newest events into memory; returns where to go on. Markers and aborted events lie between them."""
        reader = self._late[0]
        begin, end = await reader.bounds()
        back = _BACK
        while True:
            at = max(begin, end - back)
            while at < end and (messages := await reader.read(at, MAX_READ)):
                for message in messages:
                    if message.offset < end:
                        self._push(decode_event(message.value, self._base + message.offset + 1))
                at = messages[-1].offset + 1
            if self._seqs or end - back <= begin:
                break
            back *= 4
        if not self._seqs:
            self._newest = self._base + end
            self._floor = self._newest
        return end

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            got = await consumer.getmany(self._partition, timeout_ms=_POLL_MS)
            for message in got.get(self._partition, ()):
                self._push(decode_event(message.value, self._base + message.offset + 1))
            if got:
                self._changed.notify()

    def _push(self, event: FirehoseEvent) -> None:
        if event.seq <= self._newest:
            return
        if not self._seqs and not self._floor:
            self._floor = event.seq - 1
        self._seqs.append(event.seq)
        self._events.append(event)
        self._bytes += _size(event)
        self._newest = event.seq
        if not self._oldest[0]:
            self._oldest = (event.seq, event.time)
        if len(self._seqs) > 2 * TAIL_EVENTS or self._bytes > 2 * TAIL_BYTES:
            self._trim()

    def _trim(self) -> None:
        """Old ones go in halves, so that it costs O(1) each."""
        drop = 0
        while len(self._seqs) - drop > TAIL_EVENTS or (self._bytes > TAIL_BYTES and drop < len(self._seqs)):
            self._bytes -= _size(self._events[drop])
            drop += 1
        self._floor = self._seqs[drop - 1]
        del self._seqs[:drop], self._events[:drop]

    async def _keep_oldest(self) -> None:
        while True:
            await asyncio.sleep(_OLDEST_SECONDS)
            try:
                await self._find_oldest()
            except AWAY as error:  # what was known still serves; the broker is asked again
                _log.warning("the oldest event could not be asked for", error=repr(error))

    async def _find_oldest(self) -> None:
        """Retention takes old events away: look again now and then."""
        begin, _ = await self._first.bounds()
        messages = await self._first.read(begin, 1)
        if messages:
            event = decode_event(messages[0].value, self._base + messages[0].offset + 1)
            self._oldest = (event.seq, event.time)
        else:
            self._oldest = (0, 0)


def _size(event: FirehoseEvent) -> int:
    return 256 + len(event.tail)
