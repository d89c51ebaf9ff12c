"""A relay on a cluster's log, in this process: what derive refuses is fetched, and a broker that dies is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.derive.worker import DeriveWorker
from ingest.log_kafka.relay.log import KafkaRelayLog
from ingest.log_kafka.topics import ensure_topics
from ingest.relay.left_below import catch_up_with
from schemas.entries import HeadEntry
from schemas.topics import shard_of
from tests.relay.world.host import Host, Member
from tests.relay.world.people import People
from tests.relay.world.relay import World, until
from tests.support.devstack.stack import Stack
from tests.support.kafka_log import append, drop_topics, firehose_of, records_of

pytestmark = [pytest.mark.cluster, pytest.mark.chaos, pytest.mark.drill]

SHARDS = 2


class KafkaWorld(World):
    """A relay in this process, wired as `headrace/wiring/relay_log.py` does."""

    def __init__(self, kafka: KafkaSettings, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.kafka = kafka

    async def open_log(self) -> KafkaRelayLog:
        return await KafkaRelayLog.open(self.kafka, self.directory, SHARDS)

    async def open(self) -> None:
        await super().open()
        self.log.follow(partial(catch_up_with, self.relay))

    async def held(self, *members: Member) -> None:
        """Return once the log holds exactly the repos of these, as derived."""

        def holds() -> bool:
            return not self.log.undecided and all(
                (head := self.log.head(each.did)) is not None
                and (head.rev, head.data, head.partial) == (each.rev, each.data, False)
                and [path for path, _ in self.log.cids(each.did)] == sorted(each.records)
                for each in members
            )

        await until(holds, str([(self.log.head(each.did), each.rev) for each in members]))


@pytest.fixture(scope="module")
def kafka(kafka_servers: str, cluster_name: str) -> Iterator[KafkaSettings]:
    settings = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    asyncio.run(ensure_topics(settings, SHARDS))
    yield settings
    asyncio.run(drop_topics(settings))


@asynccontextmanager
async def deriving(kafka: KafkaSettings, tmp_path: Path) -> AsyncIterator[DeriveWorker]:
    worker = DeriveWorker(kafka, tmp_path / "derive", SHARDS, only=range(SHARDS))
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()
        assert worker.failure is None


async def heads_of(kafka: KafkaSettings, did: str) -> list[str]:
    found = await records_of(kafka, shard_of(did, SHARDS))
    return [entry.rev for entry in found if isinstance(entry, HeadEntry) and entry.did == did]


async def test_an_account_that_another_writer_has_brought_elsewhere_is_fetched(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    people = People()
    async with Host(people) as host:
        alice, twin, bob = host.add(7_001), Member(7_001), host.add(7_002)
        await host.say(alice.write(2), bob.write())
        twin.write(2)
        async with deriving(kafka, tmp_path) as worker:
            world = KafkaWorld(kafka, tmp_path / "relay", people, crawl=(host.name,))
            await world.__aenter__()
            await world.held(alice, bob)
            await worker.stop()
        fork = twin.write(5)
        await append(kafka, [fork], SHARDS)
        await host.say(alice.write(), bob.write(), alice.write(), alice.write())
        await until(lambda: world.log.undecided == 4)

        async with deriving(kafka, tmp_path):
            await world.held(alice, bob)
            await world.close()

        assert world.log.refused == 1
        assert host.asked["getRepo"] == 1
        # The fork's rev is that of the first of the three: the account goes on from it to where its host is.
        first, *_, last = await heads_of(kafka, alice.did)
        assert (first < fork.rev, last) == (True, alice.rev)
        mine = [event for event in await firehose_of(kafka) if event.did == alice.did]
        assert [event.kind for event in mine] == ["commit", "commit", "sync"]
        assert len(await heads_of(kafka, bob.did)) == 2


async def test_a_broker_that_dies_is_waited_for(own_stack: Callable[..., Stack], tmp_path: Path) -> None:
    stack = own_stack(brokers=1, stores=0)
    (broker,) = stack.kafka
    kafka = KafkaSettings(servers=stack.servers, cluster="t")
    await ensure_topics(kafka, SHARDS)
    people, said = People(), dict[str, list[str]]()
    async with Host(people) as host:
        members = [host.add(7_100 + number) for number in range(6)]

        def written(count: int) -> list[Any]:
            commits = [member.write() for _ in range(count) for member in members]
            for commit in commits:
                said.setdefault(commit.did, []).append(commit.rev)
            return commits

        async with KafkaWorld(kafka, tmp_path / "relay", people, crawl=(host.name,)) as world:
            relay = world.relay
            await host.say(*written(10))
            await until(lambda: world.log.appended >= 20)
            await asyncio.to_thread(broker.kill)
            await host.say(*written(10))
            reached = relay.host(host.name).seq  # type: ignore[union-attr]
            await asyncio.to_thread(broker.start)
            await host.say(*written(10))
            async with deriving(kafka, tmp_path) as worker:
                await world.held(*members)
                refused = worker.rejected.total()
            assert relay.host(host.name).seq == host.seq  # type: ignore[union-attr]
        assert (reached or 0) < 120
        assert world.log.refused == 0
        # What was sent anew, if anything was, is all that was refused.
        assert refused <= world.log.repeated
        for member in members:
            assert await heads_of(kafka, member.did) == said[member.did]
        assert not world.dropped
