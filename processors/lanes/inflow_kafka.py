"""What one consumer brings, taken off it at once and held for each lane: no lane waits for another's.

aiokafka asks a broker for nothing while messages of any partition of it are not taken yet (0.1 s), nor for a partition
that was left out of a request until that is answered (`wait_ms` of the consumer). Lanes that took their messages from
the client by themselves held each other up so, at each of three hops. Bounded: a partition whose lane is far behind is
left out of what is asked for. Does not own the consumer nor who has which partition.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.lanes.stages import Message

# Of one partition, beside what one answer of the broker brings (its `max_partition_fetch_bytes`).
_MOST: Final = 1_000  # messages
_MOST_BYTES: Final = 4 << 20
_LOOK_SECONDS: Final = 1.0


class Partition:
    """One partition for as long as it is ours; `processors.lanes.loop.Source` to its lane."""

    def __init__(self, consumer: AIOKafkaConsumer, tp: TopicPartition, *, markers: bool) -> None:
        """`markers`: the topic has such of transactions, which are no messages."""
        self._consumer = consumer
        self._tp = tp
        self._markers = markers
        self._held: deque[Any] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self._paused = False
        self._failure: BaseException | None = None

    def put(self, records: Iterable[Any]) -> None:
        self._held.extend(records)
        self._bytes += sum(_size(record) for record in records)
        if not self._paused and (len(self._held) >= _MOST or self._bytes >= _MOST_BYTES):
            self._consumer.pause(self._tp)
            self._paused = True
        self._changed.set()

    def fail(self, failure: BaseException) -> None:
        """To whoever reads when all that came before has been taken."""
        self._failure = failure
        self._changed.set()

    async def read(self, seconds: float, limit: int) -> list[Message]:
        held = self._held
        if not held:
            if self._failure is not None:
                raise self._failure
            self._changed.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                return []
        found = [held.popleft() for _ in range(min(limit, len(held)))]
        self._bytes -= sum(_size(record) for record in found)
        if self._paused and len(held) < _MOST // 2 and self._bytes < _MOST_BYTES // 2:
            self._paused = False
            if self._tp in self._consumer.assignment():
                self._consumer.resume(self._tp)
        return [Message(r.offset + 1, r.key, r.value, r.headers, r.timestamp) for r in found]

    async def position(self) -> int:
        if not self._markers or self._held:
            return 0
        at = int(await self._consumer.position(self._tp))
        return 0 if self._held else at


class Inflow:
    """Of one consumer; `start` once it runs, `stop` before it is stopped."""

    def __init__(self, consumer: AIOKafkaConsumer, on_failure: Callable[[BaseException], None]) -> None:
        """`on_failure` is told once when the consumer fails; so are the lanes that read."""
        self._consumer = consumer
        self._on_failure = on_failure
        self._parts: dict[TopicPartition, Partition] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="inflow")

    async def stop(self) -> None:
        """What is held is for nobody any more: whoever takes the shard reads it again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def open(self, tp: TopicPartition, *, markers: bool) -> Partition:
        """From where the consumer stands, which must have been sought before without an `await` between."""
        part = self._parts[tp] = Partition(self._consumer, tp, markers=markers)
        return part

    def close(self, tps: Iterable[TopicPartition]) -> None:
        for tp in tps:
            self._parts.pop(tp, None)

    async def _run(self) -> None:
        parts = self._parts
        try:
            while True:
                found = await self._consumer.getmany(timeout_ms=int(_LOOK_SECONDS * 1000))
                # Nothing is awaited in between, so that a position is past what is held, and no further.
                for tp, records in found.items():
                    part = parts.get(tp)
                    if part is not None:  # else it came before the shard was sought to its saved progress
                        part.put(records)
        except Exception as error:  # noqa: BLE001 - told to whoever runs the lanes, and to each that reads
            for part in parts.values():
                part.fail(error)
            self._on_failure(error)


def _size(record: Any) -> int:
    return len(record.value or b"") + 100
