"""A PDS over Kafka does what the one over SQLite does: accounts, writes, restarts, imports, a lost volume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ingest.log import Head
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.derive.worker import DeriveWorker
from ingest.log_kafka.pds.registry import read_checkpoints
from ingest.log_kafka.topics import ensure_topics
from ingest.pds.writes import Write
from schemas.errors import InvariantError, XrpcError
from tests.support.cluster_pds import ClusterPds
from tests.support.kafka_log import drop_topics
from tests.support.pds_world import PASSWORD, POST, joined, key, pieces

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("derive")]

SHARDS = 2


@pytest.fixture(scope="module")
def kafka(kafka_servers: str, cluster_name: str) -> Iterator[KafkaSettings]:
    settings = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    asyncio.run(ensure_topics(settings, SHARDS))
    yield settings
    asyncio.run(drop_topics(settings))


@pytest.fixture
async def derive(kafka: KafkaSettings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DeriveWorker]:
    directory = tmp_path_factory.getbasetemp() / kafka.cluster
    worker = DeriveWorker(kafka, directory, SHARDS, only=range(SHARDS))
    await worker.start()
    yield worker
    await worker.stop()


@pytest.fixture
async def world(kafka: KafkaSettings, tmp_path: Path, request) -> AsyncIterator[ClusterPds]:
    name = f"p{abs(hash(request.node.name)) % 10**8}"
    world = await ClusterPds(tmp_path, kafka=kafka, name=name, shards=SHARDS).open()
    yield world
    if world.pds is not None:
        await world.close()


async def scribble(world: ClusterPds, did: str) -> None:
    """Creates, updates and deletes: 15 of 20 records are left."""
    await world.pds.apply_writes(did, [Write("create", POST, key(n), world.record(f"{n}")) for n in range(20)])
    await world.pds.apply_writes(did, [Write("put", POST, key(n), world.record(f"{n} again")) for n in range(5)])
    await world.pds.apply_writes(did, [Write("delete", POST, key(n)) for n in range(5, 10)])


async def test_what_is_written_is_read_at_once_and_after_a_restart(world):
    dids = [(await world.account()).did for _ in range(4)]
    await asyncio.gather(*(scribble(world, did) for did in dids))
    before = {did: await world.pds.list_records(did, POST, limit=100) for did in dids}

    await world.restart()

    for did in dids:
        assert await world.pds.list_records(did, POST, limit=100) == before[did]
        assert len(await world.check_repo(did)) == 15
    assert world.pds._parts.replay.replayed == 0


async def test_what_a_crash_kept_from_the_files_comes_from_the_log(world, monkeypatch):
    did = (await world.account()).did
    await scribble(world, did)
    head = await world.pds._parts.heads.get(did)

    async def nothing(*_: object) -> None:
        return

    with monkeypatch.context() as crash:
        for name in ("flush_all", "save_checkpoints"):
            crash.setattr(world.pds._parts.heads, name, nothing)
        assert head.file.root() is None
        await world.restart()

    assert world.pds._parts.replay.replayed == 4
    assert len(await world.check_repo(did)) == 15


async def test_accounts_are_hidden_shown_renamed_and_deleted(world):
    alice, bob = [(await world.account(name)).did for name in ("alice", "bob")]
    await world.post(alice)
    await world.pds.deactivate_account(alice)
    with pytest.raises(XrpcError, match="deactivated"):
        await world.post(alice)
    await world.restart()
    assert world.pds.sync.repo_status(alice).status == "deactivated"

    await world.pds.activate_account(alice)
    await world.pds.update_handle(alice, f"alison{world.domain}")
    await world.pds._parts.lifecycle.delete(bob)
    await world.restart()

    assert await world.pds.resolve_handle(f"alison{world.domain}") == alice
    assert (await world.post(alice)).commit is not None
    assert world.log.head(bob).status == "deleted"
    assert not world.pds.hosts(bob)


async def test_an_import_is_taken_in_and_exported_again(world):
    one, two = (await world.account()).did, (await world.account()).did
    await scribble(world, one)
    await world.post(two, "goes away", key(500))
    car = await joined(await world.pds.sync.repo_car(one))
    with pytest.raises(XrpcError, match="the account is"):
        await world.pds.import_repo(two, pieces(car))
    own = car.replace(one.encode(), two.encode())  # the same length; the commit's CID no longer holds
    with pytest.raises(XrpcError, match="Invalid repo"):
        await world.pds.import_repo(two, pieces(own))

    await world.pds.import_repo(one, pieces(car))
    await world.restart()

    assert len(await world.check_repo(one)) == 15
    assert (await world.post(one)).commit is not None


async def test_a_lost_volume_is_rebuilt_from_records(world):
    dids = [(await world.account()).did for _ in range(3)]
    empty = (await world.account()).did
    for did in dids:
        await scribble(world, did)
    exported = {did: await joined(await world.pds.sync.repo_car(did)) for did in dids}
    await world.close()

    world.lose_files()
    await world.open()

    assert world.log.head(empty).commit is not None
    for did in dids:
        assert len(await world.check_repo(did)) == 15
        assert len(await joined(await world.pds.sync.repo_car(did))) == len(exported[did])
    assert (await world.post(dids[0])).commit is not None
    assert (await world.post(empty)).commit is not None


async def test_heads_read_back_are_those_that_were_kept(world):
    states = {
        "plain": (),
        "renamed": (lambda did: world.pds.update_handle(did, f"other{world.domain}"),),
        "asleep": (world.pds.deactivate_account,),
        "hidden": (lambda did: world.pds.takedowns.take_down(did, "why"),),
        "gone": (world.pds._parts.lifecycle.delete,),
    }
    kept: dict[str, Head] = {}
    for name, steps in states.items():
        did = (await world.account(name)).did
        await world.post(did)
        for step in steps:
            await step(did)
        kept[did] = world.log.head(did)
    await world.close()
    world.lose_files()
    await world.open()

    await world.log.host(list(kept))

    assert {did: world.log.head(did) for did in kept} == kept


async def test_two_pdses_never_hand_out_one_domain(world, kafka, tmp_path):
    thief = ClusterPds(tmp_path / "thief", kafka=kafka, name=f"{world.name}b", shards=SHARDS)
    thief.domain = world.domain

    with pytest.raises(InvariantError, match=f"expected to hand out handles under '{world.domain}'"):
        await thief.open()

    assert (await world.account()).handle.endswith(world.domain)


async def test_checkpoints_are_published_and_hold_no_more_than_is_needed(world, kafka):
    did = (await world.account()).did
    await world.post(did)
    await world.pds._parts.heads.flush_all()
    ends = dict(enumerate(world.log._heads.complete))

    await world.close()
    told = (await read_checkpoints(kafka, SHARDS))[world.name]

    assert all(told[shard] >= end for shard, end in ends.items())
    await world.open()
    assert world.pds._parts.replay.replayed == 0


async def test_a_password_still_opens_the_account_after_a_restart(world):
    handle = (await world.account("carol")).handle
    await world.restart()

    assert (await world.pds.create_session(handle, PASSWORD)).handle == handle
