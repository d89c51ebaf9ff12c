"""Of one shard a batch follows the one before it only when that is acknowledged, and nothing follows a failure."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder

from processors.lanes.hops_kafka import KafkaHops, SendFailedError
from schemas.tracing import HEADER

TOPICS = {"edges": "c.edges.g1"}
MESSAGES = [("edges", shard, f"{shard}{n}".encode(), n) for n in range(5) for shard in range(2)]


class Builder(BatchBuilder):
    """Holds two messages."""

    def __init__(self):
        super().__init__(1 << 20, 0, is_transactional=False)
        self.values = []
        self.headers = {}

    def append(self, *, key, value, timestamp, headers):
        if len(self.values) == 2:
            return None
        self.values.append(value)
        self.headers[value] = headers
        return super().append(key=key, value=value, timestamp=timestamp, headers=headers)


class Producer:
    """A broker that answers when `answer` says so."""

    def __init__(self):
        self.sent = []
        self.headers = {}
        self.waiting = []
        self.came = asyncio.Event()

    def create_batch(self):
        return Builder()

    async def send_batch(self, batch, topic, *, partition):
        acknowledged = asyncio.get_running_loop().create_future()
        self.headers |= batch.headers
        self.sent.append((topic, partition, tuple(batch.values)))
        self.waiting.append((partition, acknowledged))
        self.came.set()
        return acknowledged

    def answer(self, error=None):
        partition, acknowledged = self.waiting.pop(0)
        if error is None:
            acknowledged.set_result(None)
        else:
            acknowledged.set_exception(error)
        return partition


async def turns(number=20):
    for _ in range(number):
        await asyncio.sleep(0)


async def test_send_returns_when_all_is_acknowledged_and_each_shard_has_one_batch_out():
    producer = Producer()
    sending = asyncio.ensure_future(KafkaHops(producer, TOPICS).send(MESSAGES))
    out = []
    while not sending.done():
        await turns()
        assert sorted(partition for partition, _ in producer.waiting) == sorted({p for p, _ in producer.waiting})
        if not producer.waiting:
            break
        out.append(producer.answer())
    await sending

    assert len(out) == 6
    for shard in range(2):
        came = [value for _, partition, values in producer.sent if partition == shard for value in values]
        assert came == [value for _, partition, value, _ in MESSAGES if partition == shard]


async def test_nothing_follows_a_batch_that_was_not_acknowledged():
    producer = Producer()
    hops = KafkaHops(producer, TOPICS)
    sending = asyncio.ensure_future(hops.send(MESSAGES))
    await turns()
    failed = producer.answer(KafkaTimeoutError())
    await turns()
    other = producer.answer()
    await turns()

    assert other != failed
    with pytest.raises(SendFailedError, match=rf"c.edges.g1\[{failed}\].*not acknowledged"):
        await sending
    assert len(producer.sent) == 2, "a shard got more after a failure"
    with pytest.raises(SendFailedError):
        await hops.send(MESSAGES)
    assert len(producer.sent) == 2
    assert hops.sent == 0


async def test_a_trace_goes_along_with_what_follows_from_it():
    producer = Producer()
    sending = asyncio.ensure_future(KafkaHops(producer, TOPICS).send(MESSAGES, {2: b"trace"}))
    while not sending.done():
        await turns()
        if producer.waiting:
            producer.answer()
    await sending

    assert {value for value, headers in producer.headers.items() if headers} == {b"02", b"12"}
    assert producer.headers[b"02"] == [(HEADER, b"trace")]
