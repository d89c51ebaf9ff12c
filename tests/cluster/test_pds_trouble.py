"""What a PDS over Kafka does when it is wrong, or not told: another writer of its account, a broker that dies."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.derive.worker import DeriveWorker
from ingest.log_kafka.pds.writer import StoppedError
from ingest.log_kafka.topics import ensure_topics
from ingest.pds.commit_build import build
from ingest.pds.writes import Write, prepare
from schemas import lexicon
from schemas.datetimes import from_micros
from schemas.errors import XrpcError
from schemas.syntax import Did
from schemas.tid import TidClock
from tests.support.cluster_pds import ClusterPds
from tests.support.devstack.stack import Stack
from tests.support.kafka_log import append, drop_topics
from tests.support.pds_world import POST, key
from tests.support.stack import only_long

pytestmark = [pytest.mark.cluster, pytest.mark.chaos]

SHARDS = 2
PATIENCE = 60


@pytest.fixture(scope="module")
def kafka(kafka_servers: str, cluster_name: str) -> Iterator[KafkaSettings]:
    settings = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    asyncio.run(ensure_topics(settings, SHARDS))
    yield settings
    asyncio.run(drop_topics(settings))


@pytest.fixture
async def world(kafka: KafkaSettings, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[ClusterPds]:
    name = f"p{abs(hash(request.node.name)) % 10**8}"
    world = await ClusterPds(tmp_path / "data", kafka=kafka, name=name, shards=SHARDS).open()
    worker = DeriveWorker(kafka, tmp_path / "derive", SHARDS, only=range(SHARDS))
    await worker.start()
    yield world
    await world.close()
    await worker.stop()


@pytest.fixture(scope="module")
def broker(own_stack: Callable[..., Stack]) -> Stack:
    """One that may be killed."""
    return own_stack(brokers=1, stores=0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.05)


async def written_elsewhere(world: ClusterPds, did: Did, rkey: str) -> None:
    """A commit on the same head, signed with the account's key, by who does not ask the PDS."""
    head, row = await world.pds._parts.heads.get(did), world.pds._parts.accounts.get(did)
    clock = TidClock(7, world.clock)
    write = prepare(Write("create", POST, rkey, world.record("elsewhere")), lexicon.load(), clock, validate=None)
    built = build(head, row.key, clock.next(head.root.rev), [write], from_micros(world.clock()))
    await append(world.kafka, [msgspec.structs.replace(built.entry, time=world.clock())], SHARDS)


async def test_two_writers_of_one_account_do_not_fork_it_and_are_told_of(world):
    did, other = (await world.account()).did, (await world.account()).did
    await world.post(did, "before", key(1))

    await written_elsewhere(world, did, str(key(2)))
    lost = await world.post(did, "on a head that is not the log's", key(3))
    await until(lambda: world.log.rejections.count == 1)
    await until(lambda: did not in world.log._writer.closed)

    assert lost.commit is not None
    assert world.log.head(did).commit != lost.commit
    assert await world.check_repo(did) == [f"{POST}/{key(n)}" for n in (1, 2)]
    again = await world.post(did, "after", key(4))
    assert world.log.head(did).commit == again.commit
    assert await world.check_repo(did) == [f"{POST}/{key(n)}" for n in (1, 2, 4)]
    assert (await world.post(other)).commit is not None
    assert world.log.rejections.count == 1


async def test_a_rejection_while_the_pds_was_down_is_not_missed(world):
    did = (await world.account()).did
    await world.post(did, "before", key(1))
    await world.close()
    await world.open()
    await written_elsewhere(world, did, str(key(2)))
    await world.post(did, "on a head that is not the log's", key(3))
    await world.close()

    await world.open()
    await until(lambda: world.log.rejections.count >= 1)
    await until(lambda: did not in world.log._writer.closed)

    assert await world.check_repo(did) == [f"{POST}/{key(n)}" for n in (1, 2)]
    assert (await world.post(did, "after", key(4))).commit is not None


async def test_who_was_fenced_by_a_replacement_appends_nothing_more(world, tmp_path):
    did = (await world.account()).did
    await world.post(did, "before", key(1))
    twin = ClusterPds(tmp_path / "twin", kafka=world.kafka, name=world.name, shards=SHARDS)
    await twin.open()
    try:
        with pytest.raises(XrpcError, match="ServiceUnavailable"):
            await world.post(did, "too late", key(2))
        async with asyncio.timeout(PATIENCE):
            failure = await world.log.stopped()
        with pytest.raises((StoppedError, XrpcError)):
            await world.post(did, "far too late", key(3))
    finally:
        await twin.close()

    assert type(failure).__name__ == "ReplacedError"


@only_long
async def test_a_broker_that_dies_amid_writes_leaves_no_write_half_or_forgotten(broker: Stack, tmp_path: Path):
    stack = broker
    kafka = KafkaSettings(servers=stack.servers, cluster="own")
    await ensure_topics(kafka, SHARDS)
    world = await ClusterPds(tmp_path / "data", kafka=kafka, shards=SHARDS).open()
    told: dict[Did, set[str]] = {}
    tried: dict[Did, list[set[str]]] = {}
    refused = 0
    enough = asyncio.Event()

    async def keep_writing(did: Did) -> None:
        nonlocal refused
        number = 0
        while not enough.is_set():
            keys = {str(key(number + one)) for one in range(3)}
            number += 3
            tried[did].append(keys)
            try:
                await world.pds.apply_writes(did, [Write("create", POST, rkey, world.record(rkey)) for rkey in keys])
                told[did] |= keys
            except XrpcError as error:
                assert error.status == 503  # noqa: PT017
                refused += 1
                await asyncio.sleep(0.05)

    dids = [(await world.account()).did for _ in range(6)]
    told, tried = {did: set() for did in dids}, {did: [] for did in dids}
    writers = [asyncio.create_task(keep_writing(did)) for did in dids]
    try:
        await until(lambda: world.log.appended > 60)
        await asyncio.to_thread(stack.kafka[0].kill)
        await until(lambda: world.log.unknown > 0 and refused > 0)
        await asyncio.to_thread(stack.kafka[0].start)
        began = time.monotonic()
        await until(lambda: not world.log.away)
        sys.stdout.write(f"appends again {time.monotonic() - began:.1f} s after the broker answered\n")
        before = world.log.appended
        await until(lambda: world.log.appended > before + 60)
    finally:
        enough.set()
        await asyncio.gather(*writers)
    worker = DeriveWorker(kafka, tmp_path / "derive", SHARDS, only=range(SHARDS))
    await worker.start()
    for did in dids:
        found = {path.removeprefix(f"{POST}/") for path in await world.check_repo(did)}
        assert told[did] <= found
        assert all(keys <= found or not keys & found for keys in tried[did])
    assert not worker.rejected
    await worker.stop()
    await world.close()
