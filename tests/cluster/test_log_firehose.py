"""The firehose over Kafka: the same seq at every replica, memory and topic agree, and `api.firehose` can serve it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError

from api.firehose import FirehoseHub
from api.outlet import message
from ingest.log_kafka import firehose as log_kafka_firehose
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.firehose import KafkaFirehose
from ingest.log_kafka.records import KafkaRecords
from ingest.log_kafka.topics import delete_records, ensure_topics
from schemas.topics import FIREHOSE
from tests.support.derive_world import World, make_world
from tests.support.kafka_log import append, drop_topics, firehose_of, records_of, run_derive

pytestmark = pytest.mark.cluster

BASE = 1000


@pytest.fixture
async def settings(kafka_servers: str, cluster_name: str, request) -> AsyncIterator[KafkaSettings]:
    made = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}-{abs(hash(request.node.name))}")
    await ensure_topics(made, 1)
    yield made
    await drop_topics(made)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return await make_world(tmp_path / "log.sqlite", 31, 5, 1)


async def derive(settings: KafkaSettings, world: World, path: Path, begin: int, end: int | None = None) -> None:
    await append(settings, world.entries[begin:end], 1)
    await run_derive(settings, path / "derive", 1, batch=2)


async def test_every_replica_serves_the_same_from_memory_and_from_the_topic(
    settings: KafkaSettings, world: World, tmp_path: Path, monkeypatch
) -> None:
    half = len(world.entries) // 2
    empty = await KafkaFirehose.open(settings, BASE)
    assert empty.firehose_bounds() == (0, BASE, 0)
    await derive(settings, world, tmp_path, 0, half)
    monkeypatch.setattr(log_kafka_firehose, "TAIL_EVENTS", 4)
    late = await KafkaFirehose.open(settings, BASE)
    await derive(settings, world, tmp_path, half)
    expected = await firehose_of(settings)
    newest = BASE + expected[-1].seq

    for replica in (empty, late):
        async with asyncio.timeout(30):
            await replica.changed.wait_firehose(newest - 1)
        assert replica.firehose_bounds()[1] == newest
        for start in (BASE, BASE + expected[3].seq, newest - 1):
            found, after = [], start
            while page := await replica.read_firehose(after, 3):
                found += page
                after = page[-1].seq
            assert [(e.seq - BASE, e.did, e.head, e.tail) for e in found] == [
                (e.seq, e.did, e.head, e.tail) for e in expected if BASE + e.seq > start
            ]
        assert await replica.read_firehose(newest, 10) == []
        await replica.close()
    assert len(expected) > 20


async def test_events_that_are_gone_are_not_in_the_bounds(
    settings: KafkaSettings, world: World, tmp_path: Path
) -> None:
    await derive(settings, world, tmp_path, 0)
    events = await firehose_of(settings)
    await delete_records(settings, {(FIREHOSE, 0): events[5].seq})

    firehose = await KafkaFirehose.open(settings)

    assert firehose.firehose_bounds() == (events[5].seq, events[-1].seq, events[5].time)
    assert [event.seq for event in await firehose.read_firehose(0, 2)] == [events[5].seq, events[6].seq]
    await firehose.close()


async def test_the_hub_serves_past_and_live_frames(settings: KafkaSettings, world: World, tmp_path: Path) -> None:
    half = len(world.entries) // 2
    await derive(settings, world, tmp_path, 0, half)
    firehose = await KafkaFirehose.open(settings)
    hub = FirehoseHub(firehose, lambda _: True)
    running = asyncio.ensure_future(hub.run())
    seen = b""
    after = 0
    with hub.subscription():
        await derive(settings, world, tmp_path, half)
        events = await firehose_of(settings)
        async with asyncio.timeout(30):
            while after < events[-1].seq:
                wire, _, after = await (hub.live(after) if hub.is_live(after) else hub.past(after, 50))
                seen += wire

    assert seen == b"".join(message(event.frame()) for event in events)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await firehose.close()


async def test_records_can_be_read_from_anywhere(settings: KafkaSettings, world: World, tmp_path: Path) -> None:
    await derive(settings, world, tmp_path, 0)
    expected = await records_of(settings, 0)
    records = KafkaRecords(settings, 1)

    for start in (0, expected[7].offset, expected[2].offset, expected[-1].offset):
        found, after = [], start
        while True:
            page, reached = await records.read_records(0, after, 10)
            if reached == after:
                break
            found += page
            after = reached
        assert found == [entry for entry in expected if entry.offset > start]
    assert (await records.ends())[0] >= expected[-1].offset
    await records.close()


async def test_a_broker_that_is_away_for_a_while_ends_no_replica(settings: KafkaSettings, monkeypatch) -> None:
    monkeypatch.setattr(log_kafka_firehose, "_OLDEST_SECONDS", 0.0)
    firehose = await KafkaFirehose.open(settings, BASE)
    asked = asyncio.Event()
    looks = 0

    async def away() -> None:
        nonlocal looks
        looks += 1
        asked.set()
        raise KafkaConnectionError

    monkeypatch.setattr(firehose, "_find_oldest", away)
    stopped = asyncio.ensure_future(firehose.stopped())
    for _ in range(3):
        asked.clear()
        async with asyncio.timeout(10):
            await asked.wait()
    assert looks >= 3
    assert not stopped.done()
    stopped.cancel()
    await firehose.close()
