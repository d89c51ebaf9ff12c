"""derive killed, frozen, replaced: nothing missing from `records` and `firehose`, and nothing twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.topics import ensure_topics
from ingest.log_kafka.truncate import derived_to
from schemas.crash import ENVIRONMENT
from schemas.topics import COMMITS, FIREHOSE, RECORDS
from tests.support.derive_world import World, check, make_world
from tests.support.kafka_log import append, derived, drop_topics, ends_of, read_all, run_derive

pytestmark = [pytest.mark.cluster, pytest.mark.chaos]

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def settings(kafka_servers: str, cluster_name: str, request) -> AsyncIterator[KafkaSettings]:
    made = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}-{abs(hash(request.node.name))}")
    yield made
    await drop_topics(made)


@pytest.fixture
async def start(settings: KafkaSettings, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a derive process; those that still live are killed at the end."""
    started: list[asyncio.subprocess.Process] = []

    async def run(shards: int = 1, mode: str = "fixed", crash: str = "", folder: str = "derive"):
        arguments = (settings.servers, settings.cluster, str(tmp_path / folder), str(shards), mode)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.derive_driver", *arguments),
            cwd=ROOT,
            env={**os.environ, ENVIRONMENT: crash},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def prepare(settings: KafkaSettings, path: Path, seed: int, shards: int = 1, bursts: int = 8) -> World:
    await ensure_topics(settings, shards)
    world = await make_world(path / "log.sqlite", seed, bursts, shards)
    await append(settings, world.entries, shards)
    return world


async def ended(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    return said.decode()


@pytest.mark.parametrize(
    ("crash", "folder"),
    [
        ("derive.before_send:2", "derive"),
        ("derive.before_commit_txn:1", "derive"),
        ("derive.before_commit_txn:3", "another"),
        ("derive.after_commit_txn:2", "derive"),
        ("derive.after_commit_txn:3", "another"),
        ("derive.mid_expansion_txn:2", "derive"),
        ("derive.mid_expansion_txn:3", "another"),
    ],
)
async def test_nothing_is_lost_or_doubled_when_derive_dies(
    crash: str, folder: str, settings: KafkaSettings, start: Start, tmp_path: Path
) -> None:
    """The next owner has the dead one's state file, or (`another`) makes its own from the log."""
    world = await prepare(settings, tmp_path, seed=11)
    process = await start(crash=crash)
    said = await ended(process)
    assert process.returncode == -signal.SIGKILL
    assert f"crash: {crash.partition(':')[0]}" in said

    await start(folder=folder)
    await derived(settings, 1)

    await check(settings, world)


async def test_what_an_owner_left_open_is_seen_by_nobody(settings: KafkaSettings, start: Start, tmp_path: Path) -> None:
    """It is in the topics, aborted by the next owner: a reader of committed messages is not given it."""
    world = await prepare(settings, tmp_path, seed=12)
    await ended(await start(crash="derive.before_commit_txn:1"))
    seen = {topic: await offsets_of_all(settings, topic) for topic in (RECORDS, FIREHOSE)}

    await start(folder="another")
    await derived(settings, 1)

    await check(settings, world)
    for topic, before in seen.items():
        committed = [message.offset for message in await read_all(settings, topic)]
        left_open = [offset for offset in before if offset not in committed]
        assert left_open, (topic, before, committed)


async def offsets_of_all(settings: KafkaSettings, topic: str) -> list[int]:
    """Offsets of all messages, committed or not."""
    partition = TopicPartition(settings.topic(topic), 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.servers, enable_auto_commit=False)
    await consumer.start()
    found = []
    try:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.seek(partition, 0)
        while await consumer.position(partition) < end:
            found += [m.offset for m in (await consumer.getmany(partition, timeout_ms=200)).get(partition, [])]
    finally:
        await consumer.stop()
    return found


async def test_a_zombie_is_fenced(settings: KafkaSettings, start: Start, tmp_path: Path) -> None:
    """Frozen, replaced and thawed: it has the shard no more, and ends saying so."""
    await ensure_topics(settings, 1)
    world = await make_world(tmp_path / "log.sqlite", 13, 8, 1)
    half = len(world.entries) // 2
    await append(settings, world.entries[:half], 1)
    zombie = await start(folder="zombie")
    await derived(settings, 1)
    zombie.send_signal(signal.SIGSTOP)
    await start(folder="other")
    await append(settings, world.entries[half:], 1)
    await derived(settings, 1)

    zombie.send_signal(signal.SIGCONT)
    said = await ended(zombie)

    assert zombie.returncode == 3
    assert "Fenced" in said or "AssertionError" in said
    await check(settings, world)


async def test_workers_of_a_group_share_the_shards_through_kills(
    settings: KafkaSettings, start: Start, tmp_path: Path
) -> None:
    """Workers are killed and frozen at random while entries come; what is left of them derives all, once."""
    shards = 3
    await ensure_topics(settings, shards)
    world = await make_world(tmp_path / "log.sqlite", 14, 25, shards)
    chance = random.Random(14)
    workers = [await start(shards, "group", folder=f"worker-{n}") for n in range(2)]
    number, kills = 2, 0
    for begin in range(0, len(world.entries), 40):
        await append(settings, world.entries[begin : begin + 40], shards)
        victim = workers.pop(chance.randrange(2))
        await something_is_derived(settings, shards)
        victim.send_signal(chance.choice([signal.SIGKILL, signal.SIGSTOP]))
        kills += 1
        workers.append(await start(shards, "group", folder=f"worker-{number}"))
        number += 1

    await derived(settings, shards)

    assert kills >= 4
    await check(settings, world)


async def something_is_derived(settings: KafkaSettings, shards: int) -> None:
    """Return once one of the shards is no longer behind, so that a kill comes in the middle of work."""
    async with asyncio.timeout(60):
        ends = await ends_of(settings, COMMITS, shards)
        while True:
            done = await derived_to(settings, shards)
            if any(0 < done[shard] >= end for shard, end in ends.items()):
                return
            await asyncio.sleep(0.05)


async def test_a_shard_comes_back_to_who_had_it(settings: KafkaSettings, tmp_path: Path) -> None:
    """It goes on from its own file, whatever others did meanwhile."""
    await ensure_topics(settings, 1)
    world = await make_world(tmp_path / "log.sqlite", 15, 8, 1)
    size = len(world.entries) // 4 + 1
    for n, folder in enumerate(("a", "b", "a", "b")):
        await append(settings, world.entries[n * size : (n + 1) * size], 1)
        await run_derive(settings, tmp_path / folder, 1)

    await check(settings, world)
