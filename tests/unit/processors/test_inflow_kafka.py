"""What a consumer brings is taken off it at once, bounded, and each lane reads its own in order."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processors.lanes import inflow_kafka
from processors.lanes.inflow_kafka import Inflow

ONE, OTHER = TopicPartition("c.records", 0), TopicPartition("c.records", 1)


class Record(NamedTuple):
    offset: int
    key: bytes
    value: bytes
    headers: tuple
    timestamp: int


def records(first, number, size=10):
    return [Record(offset, b"k", bytes(size), (), 7) for offset in range(first, first + number)]


class Consumer:
    """A client that is given what the broker answers; a paused partition brings nothing."""

    def __init__(self):
        self.answers = asyncio.Queue()
        self.out = False
        self.paused = set()
        self.at = {ONE: 0, OTHER: 0}

    async def getmany(self, *, timeout_ms):  # noqa: ARG002 - the client's
        if self.out:
            self.answers.task_done()
        found = await self.answers.get()
        self.out = True
        if isinstance(found, Exception):
            self.answers.task_done()
            raise found
        assert not self.paused & set(found)
        for tp, got in found.items():
            self.at[tp] = got[-1].offset + 1
        return found

    async def position(self, tp):
        return self.at[tp]

    def assignment(self):
        return {ONE, OTHER}

    def pause(self, tp):
        self.paused.add(tp)

    def resume(self, tp):
        self.paused.discard(tp)


@pytest.fixture
async def inflow():
    failures = []
    made = Inflow(Consumer(), failures.append)
    made.failures = failures
    made.start()
    yield made
    await made.stop()


async def taken(inflow):
    """All answers that were given have been handed out."""
    await inflow._consumer.answers.join()


async def test_a_lane_that_reads_nothing_holds_nobody_up(inflow):
    slow, quick = inflow.open(ONE, markers=True), inflow.open(OTHER, markers=True)
    for turn in range(20):
        inflow._consumer.answers.put_nowait({ONE: records(turn * 10, 10), OTHER: records(turn * 10, 10)})
    await taken(inflow)

    assert [message.offset for message in await quick.read(0, 500)] == list(range(1, 201))
    assert [message.offset for message in await slow.read(0, 15)] == list(range(1, 16))
    assert [message.offset for message in await slow.read(0, 500)] == list(range(16, 201))
    assert await slow.read(0, 500) == []


@pytest.mark.parametrize(
    ("number", "size"), [(inflow_kafka._MOST, 10), (20, inflow_kafka._MOST_BYTES // 10)], ids=["messages", "bytes"]
)
async def test_a_partition_whose_lane_is_far_behind_is_asked_for_no_more_until_it_has_come_nearer(inflow, number, size):
    part = inflow.open(ONE, markers=True)
    inflow._consumer.answers.put_nowait({ONE: records(0, number, size)})
    await taken(inflow)

    assert inflow._consumer.paused == {ONE}
    await part.read(0, number // 4)
    assert inflow._consumer.paused == {ONE}
    found = await part.read(0, number)
    assert found[-1].offset == number
    assert not inflow._consumer.paused


async def test_what_came_before_a_shard_was_sought_or_after_it_was_given_up_is_nobodys(inflow):
    inflow._consumer.answers.put_nowait({ONE: records(0, 3)})
    await taken(inflow)
    part = inflow.open(ONE, markers=True)
    inflow._consumer.answers.put_nowait({ONE: records(7, 2)})
    await taken(inflow)
    inflow.close([ONE])
    inflow._consumer.answers.put_nowait({ONE: records(9, 2)})
    await taken(inflow)

    assert [message.offset for message in await part.read(0, 500)] == [8, 9]


async def test_a_position_is_told_only_when_all_before_it_was_read(inflow):
    part, hop = inflow.open(ONE, markers=True), inflow.open(OTHER, markers=False)
    inflow._consumer.answers.put_nowait({ONE: records(0, 3), OTHER: records(0, 1)})
    await taken(inflow)

    assert await part.position() == 0
    await part.read(0, 500)
    await hop.read(0, 500)
    assert await part.position() == 3
    assert await hop.position() == 0


async def test_whoever_reads_is_told_that_the_consumer_has_failed_after_what_had_come(inflow):
    part = inflow.open(ONE, markers=True)
    inflow._consumer.answers.put_nowait({ONE: records(0, 1)})
    inflow._consumer.answers.put_nowait(KafkaError("refused"))
    await taken(inflow)

    assert len(await part.read(0, 500)) == 1
    with pytest.raises(KafkaError):
        await part.read(0, 500)
    assert len(inflow.failures) == 1
