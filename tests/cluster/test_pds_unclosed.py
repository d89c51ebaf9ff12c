"""A broker that has forgotten to end a transaction of a PDS: what was acknowledged stays written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingest.log_kafka.client import KafkaSettings, new_producer
from ingest.log_kafka.derive.worker import DeriveWorker
from ingest.log_kafka.topics import ensure_topics
from schemas.topics import COMMITS, PDS
from tests.support.cluster_pds import ClusterPds
from tests.support.forgetting_broker import Forgetting, careless_broker
from tests.support.kafka_log import ends_of
from tests.support.pds_world import POST, key

__all__ = ["careless_broker"]

pytestmark = [pytest.mark.cluster, pytest.mark.chaos]


@pytest.fixture
async def world(careless_broker: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[ClusterPds]:
    """With an account that has one post, and derive beside it."""
    kafka = KafkaSettings(servers=careless_broker, cluster=f"t{abs(hash(request.node.name))}")
    await ensure_topics(kafka, 1)
    world = await ClusterPds(tmp_path / "data", kafka=kafka, shards=1).open()
    worker = DeriveWorker(kafka, tmp_path / "derive", 1, only=[0])
    await worker.start()
    yield world
    await world.close()
    await worker.stop()


async def test_an_acknowledged_write_is_there_after_the_next_start(world, monkeypatch):
    forgetting = Forgetting(monkeypatch, COMMITS)
    did = (await world.account()).did
    await world.post(did, "before", key(1))
    forgetting.on = True
    await world.post(did, "acknowledged", key(2))
    await world.close()
    assert forgetting.forgotten

    forgetting.on = False
    await world.open()

    assert await world.check_repo(did) == [f"{POST}/{key(n)}" for n in (1, 2)]


async def test_what_is_dropped_later_does_not_take_it_along(world, monkeypatch):
    """The last the broker remembers of this PDS is a transaction that was aborted."""
    forgetting = Forgetting(monkeypatch, COMMITS)
    did = (await world.account()).did
    forgetting.on = True
    await world.post(did, "acknowledged", key(1))
    await world.close()
    assert forgetting.forgotten
    forgetting.on = False
    dead = new_producer(world.kafka, transactional_id=f"{world.kafka.cluster}-pds-{world.name}")
    await dead.start()
    await dead.begin_transaction()
    await (await dead.send(world.kafka.topic(PDS), b"dropped", b"dropped", 0))
    await dead.abort_transaction()
    await dead.stop()

    await world.open()

    assert await world.check_repo(did) == [f"{POST}/{key(1)}"]


async def test_it_is_seen_without_a_start_or_another_write(world, monkeypatch):
    forgetting = Forgetting(monkeypatch, COMMITS)
    did = (await world.account()).did
    forgetting.on = True
    appended = await world.post(did, "acknowledged", key(1))
    assert appended.commit is not None
    before = (await ends_of(world.kafka, COMMITS, 1))[0]
    forgetting.on = False

    async with asyncio.timeout(60):
        while (await ends_of(world.kafka, COMMITS, 1))[0] == before:
            assert not world.log.away

    assert forgetting.forgotten
    assert await world.check_repo(did) == [f"{POST}/{key(1)}"]
