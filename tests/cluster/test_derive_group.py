"""Workers of one group: shards are shared, move when a worker comes or goes, and nothing stops by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka.errors import ProducerFenced

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.derive.lane import Lane
from ingest.log_kafka.derive.worker import DeriveWorker
from ingest.log_kafka.topics import ensure_topics
from tests.support.derive_world import check, make_world
from tests.support.kafka_log import PATIENCE, append, derived, drop_topics

pytestmark = pytest.mark.cluster

SHARDS = 4


@pytest.fixture
async def settings(kafka_servers: str, cluster_name: str) -> AsyncIterator[KafkaSettings]:
    made = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}g", session_timeout_ms=3000, heartbeat_ms=200)
    await ensure_topics(made, SHARDS)
    yield made
    await drop_topics(made)


async def until(holds: Callable[[], bool], *workers: DeriveWorker) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if holds():
                return
            for worker in workers:
                if worker.failure is not None:
                    raise worker.failure
            await asyncio.sleep(0.02)


async def test_shards_move_when_workers_come_and_go(settings: KafkaSettings, tmp_path: Path) -> None:
    """Each worker has a directory of its own, and what it did not see itself it makes from the log."""
    world = await make_world(tmp_path / "log.sqlite", 51, 20, SHARDS)
    size = len(world.entries) // 3 + 1
    parts = [world.entries[begin : begin + size] for begin in range(0, len(world.entries), size)]
    first, second = (DeriveWorker(settings, tmp_path / name, SHARDS, step=4, batch=5) for name in ("a", "b"))

    await first.start()
    await until(lambda: len(first.places) == SHARDS, first)
    await append(settings, parts[0], SHARDS)
    await derived(settings, SHARDS)
    await second.start()
    await until(lambda: len(first.places) == len(second.places) == SHARDS // 2, first, second)
    assert set(first.places) | set(second.places) == set(range(SHARDS))
    await append(settings, parts[1], SHARDS)
    await derived(settings, SHARDS)
    before = second.entries
    await append(settings, parts[2], SHARDS)
    await first.stop()
    await until(lambda: len(second.places) == SHARDS, second)
    await derived(settings, SHARDS)
    await second.stop()

    assert first.failure is None
    assert second.failure is None
    assert first.entries
    assert second.entries > before
    assert first.entries + second.entries == len(world.entries)
    await check(settings, world)


async def test_a_shard_is_fenced_before_its_place_is_read(
    settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former owner still lives, and is given entries once the new one has read where it stood: it cannot go on."""
    settings = msgspec.structs.replace(settings, cluster=settings.cluster + "f")
    await ensure_topics(settings, 1)
    world = await make_world(tmp_path / "log.sqlite", 52, 4, 1)
    half = len(world.entries) // 2
    former, new = (DeriveWorker(settings, tmp_path / name, 1, only=[0]) for name in ("former", "new"))
    await append(settings, world.entries[:half], 1)
    await former.start()
    await derived(settings, 1)
    restore = Lane._restore

    async def restore_and_let_the_former_go_on(self: Lane, *arguments: Any) -> None:
        await restore(self, *arguments)
        await append(settings, world.entries[half:], 1)
        await until(lambda: former.failure is not None or former.entries > half)

    monkeypatch.setattr(Lane, "_restore", restore_and_let_the_former_go_on)
    await new.start()
    await until(lambda: new.entries == len(world.entries) - half, new)

    assert former.entries == half
    assert isinstance(former.failure, ProducerFenced | AssertionError)
    await check(settings, world)
    await former.stop()
    await new.stop()
    await drop_topics(settings)
