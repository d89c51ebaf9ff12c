"""A PDS over Kafka killed, frozen and replaced: nothing acknowledged is lost, nothing is half in, a zombie is dumb."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import orjson
import pytest

from ingest.log_kafka.client import KafkaSettings, new_producer
from ingest.log_kafka.derive.worker import DeriveWorker
from ingest.log_kafka.topics import ensure_topics
from schemas.crash import ENVIRONMENT
from schemas.topics import COMMITS, shard_of
from tests.support.cluster_pds import ClusterPds
from tests.support.cluster_pds_worker import SETTINGS, STOPPED
from tests.support.kafka_log import drop_topics
from tests.support.pds_world import POST

pytestmark = [pytest.mark.cluster, pytest.mark.chaos]

ROOT = Path(__file__).resolve().parents[2]
SHARDS = 2
PATIENCE = 60
POINTS = [
    ("log.before_commit", 9),
    ("log.after_commit", 9),
    ("pds.after_append_before_ack", 12),
    ("account.after_append", 2),
]


class Worker:
    """A PDS process and what it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict] = []
        self.errors = b""
        self._reading = asyncio.create_task(self._read())
        self._said = asyncio.Condition()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        errors = asyncio.create_task(self.process.stderr.read())
        async for line in self.process.stdout:
            async with self._said:
                self.lines.append(orjson.loads(line))
                self._said.notify_all()
        self.errors = await errors

    async def said(self, kind: str, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE), self._said:
            await self._said.wait_for(lambda: sum(line["kind"] == kind for line in self.lines) >= times)

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self.process.wait()

    async def check(self, world: ClusterPds) -> int:
        """All it was told is in, each write is in whole or not at all; how many writes are in."""
        told, tried = defaultdict(list), defaultdict(list)
        for line in self.lines:
            if line["kind"] in ("told", "try"):
                (told if line["kind"] == "told" else tried)[line["did"]].append(set(line["keys"]))
        found_all = 0
        for did in tried:
            found = {path.removeprefix(f"{POST}/") for path in await world.check_repo(did)}
            assert all(keys <= found for keys in told[did]), f"{did}: told and lost"
            assert all(keys <= found or not keys & found for keys in tried[did]), f"{did}: half a write"
            assert found <= set().union(*tried[did])
            found_all += len(found) // 3
        return found_all


Start = Callable[..., Awaitable[Worker]]


@pytest.fixture(scope="module")
def kafka(kafka_servers: str, cluster_name: str) -> Iterator[KafkaSettings]:
    settings = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    asyncio.run(ensure_topics(settings, SHARDS))
    yield settings
    asyncio.run(drop_topics(settings))


@pytest.fixture
async def derive(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DeriveWorker]:
    worker = DeriveWorker(kafka, tmp_path_factory.getbasetemp() / kafka.cluster, SHARDS, only=range(SHARDS))
    await worker.start()
    yield worker
    await worker.stop()


@pytest.fixture
def world(kafka: KafkaSettings, tmp_path: Path, request: pytest.FixtureRequest) -> ClusterPds:
    """Not open."""
    name = f"p{abs(hash(request.node.name)) % 10**8}"
    return ClusterPds(tmp_path / "data", SETTINGS, kafka=kafka, name=name, shards=SHARDS)


@pytest.fixture
async def start(kafka: KafkaSettings) -> AsyncIterator[Start]:
    """Runs a world's PDS in a process that writes; what still lives at the end is killed."""
    started: list[Worker] = []

    async def run(world: ClusterPds, crash: str = "", rounds: int = 15) -> Worker:
        arguments = (kafka.servers, kafka.cluster, world.name, str(world.directory), str(SHARDS), str(rounds))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.cluster_pds_worker", *arguments),
            cwd=ROOT,
            env={**os.environ, ENVIRONMENT: crash},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(Worker(process))
        return started[-1]

    yield run
    for worker in started:
        if worker.process.returncode is None:
            worker.process.kill()
        await worker.ended()


@pytest.mark.usefixtures("derive")
@pytest.mark.parametrize(("name", "nth"), POINTS)
async def test_killed_at_a_named_point_nothing_acknowledged_is_lost(world, start, name, nth):
    worker = await start(world, f"{name}:{nth}")
    await worker.ended()
    assert f"crash: {name}\n".encode() in worker.errors, worker.errors

    await world.open()
    try:
        await worker.check(world)
        made = {line["handle"] for line in worker.lines if line["kind"] == "account"}
        tried = {line["handle"] for line in worker.lines if line["kind"] == "try account"}
        for handle in made:
            assert await world.pds.local_handle(f"{handle}{world.domain}") is not None
        for handle in tried - made:
            did = await world.pds.local_handle(f"{handle}{world.domain}") or (await world.account(handle)).did
            assert (await world.post(did)).commit is not None
    finally:
        await world.close()


@pytest.mark.usefixtures("derive")
async def test_a_zombie_answers_nobody_once_it_is_replaced(world, start, tmp_path):
    zombie = await start(world, rounds=10_000)
    await zombie.said("told", 40)
    zombie.process.send_signal(signal.SIGSTOP)
    before = len(zombie.lines)
    # The volume as a snapshot has it: the directory's lock would keep a replacement away from the zombie's own.
    shutil.copytree(world.directory, tmp_path / "copy")
    world.directory = tmp_path / "copy"
    await world.open()
    try:
        dids = [line["did"] for line in zombie.lines if line["kind"] == "account"]
        new = [(await world.post(did, "of the replacement")).results[0].uri.rkey for did in dids]

        zombie.process.send_signal(signal.SIGCONT)
        status = await zombie.ended()

        assert status == STOPPED, zombie.errors
        assert "ReplacedError" in zombie.lines[-1]["why"]
        # What was committed before the freeze may still be said: that is checked to be in, as all else.
        after = [line for line in zombie.lines[before:] if line["kind"] == "told"]
        assert len(after) <= len(dids)
        for did, rkey in zip(dids, new, strict=True):
            paths = await world.check_repo(did)
            assert f"{POST}/{rkey}" in paths
            told = {k for line in zombie.lines if line["kind"] == "told" and line["did"] == did for k in line["keys"]}
            assert {f"{POST}/{k}" for k in told} <= set(paths)
            assert (await world.post(did)).commit is not None
    finally:
        await world.close()


@pytest.mark.usefixtures("derive")
async def test_a_start_waits_for_what_lies_behind_anothers_open_transaction(world, kafka):
    await world.open()
    did = (await world.account()).did
    other = new_producer(kafka, transactional_id=f"{kafka.cluster}-other")
    await other.start()
    try:
        await other.begin_transaction()
        shard = shard_of(did, SHARDS)
        await other.send_and_wait(kafka.topic(COMMITS), b"open", key=b"did:web:elsewhere", partition=shard)
        written = await world.post(did)
        # The last stable offset is below our commit now. All that is kept here is lost: the log alone can tell of it.
        await world.close()
        (world.directory / "log-heads.sqlite").rename(world.directory / "moved")
        for path in world.directory.glob("log-heads.sqlite-*"):
            path.unlink()

        opening = asyncio.create_task(world.open())
        done, _ = await asyncio.wait((opening,), timeout=4)
        assert not done, "opened without having read its own commit"
        await other.abort_transaction()
        async with asyncio.timeout(PATIENCE):
            await opening

        assert world.log.head(did).commit == written.commit
        assert (await world.post(did)).commit is not None
    finally:
        await other.stop()
        await world.close()
