"""Hops over Kafka: one idempotent producer a worker.

Of one shard the next batch is handed over when the one before is acknowledged, so that a failure leaves a beginning and
never a hole (a consumer's mark would drop what fills a hole later). A failed send stops the worker. Does not own what
is in a message (`processors.lanes.hop_codec`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from processors.lanes.stages import Onward
from schemas.errors import InvariantError
from schemas.tracing import HEADER, NO_TRACES, call

_Value = tuple[bytes, bytes | None]  # and the trace that it is of


class SendFailedError(InvariantError):
    """A hop did not take a message: nothing that follows from it may be saved."""


class KafkaHops:
    """`topics` maps a hop to its generation's topic."""

    def __init__(self, producer: AIOKafkaProducer, topics: Mapping[str, str]) -> None:
        self._producer = producer
        self._topics = dict(topics)
        self._failure: BaseException | None = None
        self.sent = 0

    async def send(self, messages: Sequence[Onward], traces: Mapping[int, bytes] = NO_TRACES) -> None:
        parts: dict[tuple[str, int], list[_Value]] = {}
        for hop, shard, value, offset in messages:
            parts.setdefault((hop, shard), []).append((value, traces.get(offset)))
        with call("kafka send", {"messaging.batch.message_count": len(messages)}):
            await self._send_parts(parts)
        self.sent += len(messages)

    async def _send_parts(self, parts: Mapping[tuple[str, int], Sequence[_Value]]) -> None:
        tasks = [asyncio.ensure_future(self._send(hop, shard, values)) for (hop, shard), values in parts.items()]
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        failures = [failure for task in tasks if (failure := task.exception()) is not None]
        if failures:
            raise failures[0]

    async def _send(self, hop: str, shard: int, values: Sequence[_Value]) -> None:
        topic, place, tries = self._topics[hop], 0, 0
        try:
            while place < len(values):
                if self._failure is not None:
                    raise self._failure
                batch = self._producer.create_batch()
                begin = place
                while place < len(values) and _fits(batch, *values[place]):
                    place += 1
                if place == begin:
                    raise SendFailedError(f"{topic}: a message of {len(values[place][0])} bytes fits into no batch")
                batch.close()
                tries += 1
                await (await self._producer.send_batch(batch, topic, partition=shard))
        except KafkaError as error:
            self._failure = SendFailedError(
                f"{topic}[{shard}]: batch {tries} of {len(values)} messages was not acknowledged ({error!r}): the"
                " worker stops and its shards are taken again at their saved progress; look at the broker"
            )
            raise self._failure from error


def _fits(batch: BatchBuilder, value: bytes, trace: bytes | None) -> bool:
    headers = [] if trace is None else [(HEADER, trace)]  # the compiled builder takes a list alone
    return batch.append(key=None, value=value, timestamp=None, headers=headers) is not None
