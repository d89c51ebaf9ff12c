"""A broker that has forgotten to end a transaction in a partition: derive ends it as the broker says that it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingest.log_kafka.client import KafkaSettings, new_producer
from ingest.log_kafka.derive.worker import DeriveWorker
from ingest.log_kafka.topics import ensure_topics
from schemas.topics import FIREHOSE, RECORDS
from tests.support.derive_world import STEP, check, make_world
from tests.support.forgetting_broker import Forgetting, careless_broker
from tests.support.kafka_log import append, caught_up, read_all, records_of, run_derive

__all__ = ["careless_broker"]

pytestmark = [pytest.mark.cluster, pytest.mark.chaos]


@pytest.fixture
async def settings(careless_broker: str, request: pytest.FixtureRequest) -> AsyncIterator[KafkaSettings]:
    made = KafkaSettings(servers=careless_broker, cluster=f"t{abs(hash(request.node.name))}")
    await ensure_topics(made, 1)
    return made


async def test_what_was_dropped_is_not_committed_by_who_comes_next(
    settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner dies in a transaction, its marker is forgotten, and the next owner derives the same entries."""
    world = await make_world(tmp_path / "log.sqlite", 21, 8, 1)
    half = len(world.entries) // 2
    await append(settings, world.entries[:half], 1)
    await run_derive(settings, tmp_path / "one", 1, step=STEP)
    forgetting = Forgetting(monkeypatch, RECORDS)
    dead = new_producer(settings, transactional_id=f"{settings.cluster}-derive-0")
    await dead.start()
    forgetting.on = True
    await dead.begin_transaction()
    for message in (await read_all(settings, RECORDS))[-3:]:
        topic, headers = settings.topic(RECORDS), list(message.headers)
        await (await dead.send(topic, message.value, message.key, 0, headers=headers))
    await dead.abort_transaction()
    await dead.stop()
    forgetting.on = False
    assert forgetting.forgotten == 3

    await append(settings, world.entries[half:], 1)
    await run_derive(settings, tmp_path / "other", 1, step=STEP)

    await check(settings, world)


@pytest.mark.parametrize("folder", ["one", "other"])
async def test_what_was_committed_is_kept_by_who_comes_next(
    folder: str, settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """derive was told that its transaction is in the log, and nobody can read it there."""
    world = await make_world(tmp_path / "log.sqlite", 22, 8, 1)
    half = len(world.entries) // 2
    await append(settings, world.entries[:half], 1)
    forgetting = Forgetting(monkeypatch, RECORDS)
    forgetting.on = True
    await run_derive(settings, tmp_path / "one", 1, step=STEP)
    assert forgetting.forgotten
    assert not await records_of(settings, 0)
    assert await read_all(settings, FIREHOSE)

    forgetting.on = False
    await append(settings, world.entries[half:], 1)
    await run_derive(settings, tmp_path / folder, 1, step=STEP)

    await check(settings, world)


async def test_a_file_that_is_ahead_of_the_log_begins_again(
    settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What derive believed to be in the log is dropped by the next start: it is derived again, as the log has it."""
    world = await make_world(tmp_path / "log.sqlite", 23, 8, 1)
    half = len(world.entries) // 2
    await append(settings, world.entries[:half], 1)
    forgetting = Forgetting(monkeypatch, RECORDS)
    forgetting.on = True
    await run_derive(settings, tmp_path / "one", 1, step=STEP)
    assert forgetting.forgotten
    forgetting.on = False
    other = new_producer(settings, transactional_id=f"{settings.cluster}-derive-0")
    await other.start()
    await other.begin_transaction()
    await (await other.send(settings.topic(RECORDS), b"dropped", b"dropped", 0))
    await other.abort_transaction()
    await other.stop()

    await append(settings, world.entries[half:], 1)
    await run_derive(settings, tmp_path / "one", 1, step=STEP)

    found = await records_of(settings, 0)
    assert [entry.n for entry in found] == [entry.n for entry in world.records[0]]


async def test_nothing_waits_for_the_next_entry_to_be_seen(
    settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A marker is forgotten, and then nothing is written for long: whoever wrote last looks, and ends it."""
    world = await make_world(tmp_path / "log.sqlite", 24, 4, 1)
    await append(settings, world.entries, 1)
    forgetting = Forgetting(monkeypatch, RECORDS)
    forgetting.on = True
    worker = DeriveWorker(settings, tmp_path / "one", 1, only=[0], step=STEP)
    await worker.start()
    try:
        await caught_up(settings, worker, 1)
        forgetting.on = False
        async with asyncio.timeout(60):
            while len(await records_of(settings, 0)) < len(world.records[0]):
                assert worker.failure is None
    finally:
        await worker.stop()

    assert forgetting.forgotten
    await check(settings, world)
