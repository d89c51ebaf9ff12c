"""A cluster on trial: a world that flows, workers that are hurt, and the time it takes until it flows again.

`HEADRACE_CHAOS=long` makes more of every fault, `HEADRACE_CHAOS_SEED` another network; the seed is always said.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from ingest.log_kafka.client import KafkaSettings, new_consumer, new_producer
from ingest.log_kafka.topics import ensure_hops, ensure_topics
from processors.lanes import hop_codec
from schemas.topics import EDGES, FANOUT, hop
from tests.chaos.cluster.fleet import Fleet, Worker
from tests.chaos.cluster.worker import GENERATION, Job
from tests.chaos.cluster.world import World, until
from tests.support.cql_store import DRIVER, replaced
from tests.support.fast_network import TIGHT
from tests.support.random_network import Habits
from tests.support.stack import LONG
from views import ALL
from views.store_scylla import CqlSettings, ScyllaStore, reads_fast

ROLES = ("plain", "faust")
SHARDS = 4
# Faust's workers take long to join their group: what they go through here is for `make chaos`.
in_time = pytest.mark.parametrize("role", ROLES if LONG else ROLES[:1])
SEED = int(os.environ.get("HEADRACE_CHAOS_SEED", "1"))
RECOVERY_SECONDS = 180.0


def kafka_settings(servers: str, cluster: str, *, replication: int = 1) -> KafkaSettings:
    """A session of three seconds: a fault is over soon, or is seen not to be."""
    return KafkaSettings(
        servers=servers,
        cluster=cluster,
        session_timeout_ms=3_000,
        heartbeat_ms=500,
        transaction_timeout_ms=3_000,
        replication=replication,
        min_insync=max(1, replication - 1),
    )


class Trial:
    """`role` is of the workers that make views: plain or faust."""

    def __init__(self, world: World, fleet: Fleet, role: str) -> None:
        self.world = world
        self.fleet = fleet
        self.role = role
        self.dice = world.dice
        self.times: list[float] = []

    async def moment(self) -> None:
        """Not just anywhere: after a few more entries, a different number each time."""
        seen = sum(map(len, self.world.derived)) + self.dice.randrange(1, 60)

        async def came() -> bool:
            return self.world.full or sum(map(len, self.world.derived)) >= seen

        await until(came, lambda: f"{seen} entries in records", RECOVERY_SECONDS, self.world, self.fleet)

    async def recovered(self, fault: str, since: float | None = None) -> None:
        """Every shard had entries after now, and all views show them; `since` is when the fault was."""
        before, started = self.world.ends(), since or time.monotonic()
        world, shown = self.world, list[int]()

        async def moved() -> bool:
            return all(now > was for now, was in zip(world.ends(), before, strict=True))

        async def caught_up() -> bool:
            nonlocal shown
            shown = await world.shown()
            return all(found >= goal for found, goal in zip(shown, goals, strict=True))

        def said() -> str:
            derived = [len(each) for each in world.derived]
            return f"{fault} (seed {world.seed}): to show {goals}, derived {derived}, shown {shown}"

        goals = before
        # What flows stops ahead of views that do not follow: then what is there already is waited for.
        if world.flowing:
            await until(moved, said, RECOVERY_SECONDS, world, self.fleet)
            goals = world.ends()
        await until(caught_up, said, RECOVERY_SECONDS, world, self.fleet)
        seconds = time.monotonic() - started
        self.times.append(seconds)
        print(f"chaos: {self.role}, seed {world.seed}: {fault}: all shown after {seconds:.1f} s", flush=True)

    async def finish(self, viewers: int = 2) -> None:
        """The flow ends, everything is shown, and it is what the twin has."""
        await self.world.still()
        await self.recovered("the end")
        compared = await self.world.same(viewers)
        entries = sum(self.world.ends())
        worst = max(self.times)
        print(f"chaos: {self.role}, seed {self.world.seed}: {entries} entries, {compared} answers, worst {worst:.1f} s")
        print(f"chaos: sent again: {await self.repeated(EDGES)} of edges, {await self.repeated(FANOUT)} of fanout")

    def victim(self, role: str) -> Worker:
        return self.dice.choice(self.fleet.running(role))

    async def replay(self, topic: str, share: float) -> int:
        """Messages of a hop come once more, runs of them in order, behind all that is there; how many."""
        name, copied = self.world.kafka.topic(hop(topic, GENERATION)), 0
        producer = new_producer(self.world.kafka)
        await producer.start()
        try:
            for shard, old in enumerate(await self._messages(name)):
                run = int(len(old) * share)
                start = self.dice.randrange(len(old) - run + 1)
                for value in old[start : start + run]:
                    await producer.send(name, value, partition=shard)
                copied += run
            await producer.flush()
        finally:
            await producer.stop()
        return copied

    async def repeated(self, topic: str) -> int:
        """How many messages of a hop say what one before them said: what was sent and not saved was sent again."""
        found = 0
        for values in await self._messages(self.world.kafka.topic(hop(topic, GENERATION))):
            seen = set()
            for value in values:
                thing = hop_codec.decode(value)
                if not isinstance(thing, hop_codec.Watermark):
                    found += thing.src in seen
                    seen.add(thing.src)
        return found

    async def _messages(self, name: str) -> list[list[bytes]]:
        """All that is in a topic, by shard."""
        consumer: AIOKafkaConsumer = new_consumer(self.world.kafka)
        parts = [TopicPartition(name, shard) for shard in range(SHARDS)]
        consumer.assign(parts)
        await consumer.start()
        found: list[list[bytes]] = [[] for _ in parts]
        try:
            for part, end in (await consumer.end_offsets(parts)).items():
                while await consumer.position(part) < end:
                    for messages in (await consumer.getmany(part, timeout_ms=500)).values():
                        found[part.partition] += [message.value for message in messages]
        finally:
            await consumer.stop()
        return found


@asynccontextmanager
async def trial(
    directory: Path,
    servers: str,
    hosts: tuple[str, ...],
    port: int,
    role: str,
    *,
    seed: int,
    replication: int = 1,
    habits: Habits | None = None,
    ahead: int = 150,
) -> AsyncIterator[Trial]:
    """A cluster of its own on a broker and a store that run; nothing works on it yet. Gone afterwards."""
    name = "chaos" + secrets.token_hex(4)
    kafka = kafka_settings(servers, name, replication=replication)
    cql = CqlSettings(hosts=hosts, port=port, keyspace=name, replication=replication)
    carried = replaced(cql, driver=os.environ.get(DRIVER) or ("acsylla" if reads_fast() else "scylla-driver"))
    print(f"chaos: {role}, seed {seed}, {name}, {carried.driver}", flush=True)
    job = Job(role="derive", kafka=kafka, cql=carried, shards=SHARDS, directory=str(directory), fanout=TIGHT)
    (directory / "twin").mkdir()
    async with AsyncExitStack() as ending:
        ending.push_async_callback(_drop, kafka, cql)
        await ensure_topics(kafka, SHARDS)
        await ensure_hops(kafka, GENERATION, SHARDS)
        store = await ScyllaStore.open(cql, GENERATION, [view.table for view in ALL], create=True)
        ending.push_async_callback(store.close)
        world = World(directory / "twin", kafka, store, SHARDS, seed=seed, habits=habits or Habits(), ahead=ahead)
        ending.push_async_callback(world.close)
        fleet = Fleet(job, directory)
        ending.push_async_callback(fleet.close)
        await world.open()
        yield Trial(world, fleet, role)


async def _drop(kafka: KafkaSettings, cql: CqlSettings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.servers)
    await admin.start()
    topics = [topic for topic in await admin.list_topics() if topic.startswith(kafka.topic(""))]
    await admin.delete_topics(topics)
    await admin.close()
    await asyncio.to_thread(_drop_keyspaces, cql)


def _drop_keyspaces(cql: CqlSettings) -> None:
    from cassandra.cluster import Cluster

    cluster = Cluster(list(cql.hosts), port=cql.port)
    try:
        session = cluster.connect()
        for keyspace in [name for name in cluster.metadata.keyspaces if name.startswith(cql.keyspace)]:
            session.execute(f'DROP KEYSPACE "{keyspace}"', timeout=60)
    finally:
        cluster.shutdown()
