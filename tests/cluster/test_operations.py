"""`operations` of a cluster: from an AppView's call to the rows of any generation; and without a broker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import pytest
from prometheus_client import CollectorRegistry

from api.fresh_cluster import ReadSaidRev
from api.metrics import HttpMetrics
from ingest.log import LogAwayError
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.operations import KafkaOperations
from ingest.log_kafka.topics import ensure_topics
from processors.rebuild.kafka import ClusterGenerations
from processors.run_plain import PlainRunner
from schemas import crash
from schemas.entries import Account
from schemas.operations import BOOKMARK, MUTE, Operation, decode
from schemas.syntax import Did
from schemas.topics import OPERATIONS, shard_of
from tests.support.cluster_views import TABLES, dropped, topics
from tests.support.cql_store import drop_all
from tests.support.fast_network import dids
from tests.support.kafka_log import append, drop_topics, read_all, run_derive
from views import ALL, mutes_by_time, operations
from views.generations_scylla import CqlRegistry
from views.store_scylla import CqlSettings, ScyllaStore

pytestmark = pytest.mark.cluster

SHARDS = 2
SECONDS = 60.0  # on a machine with much else to do
A, B, C, D = dids(4)


@pytest.mark.timeout(240)
async def test_what_is_set_is_shown_when_the_caller_is_answered_and_in_a_rebuild_too(
    kafka_servers, cql_address, cluster_name
):
    kafka = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    cql = CqlSettings(hosts=(cql_address[0],), port=cql_address[1], keyspace=cluster_name)
    await topics(kafka, SHARDS)
    registry = await CqlRegistry.open(cql)
    generations = ClusterGenerations(registry, kafka, cql, ALL, shards=SHARDS, now=lambda: time.time_ns() // 1000)
    log = KafkaOperations(kafka, SHARDS, seconds=SECONDS)
    working: list[tuple[PlainRunner, ScyllaStore]] = []

    async def work(name: str) -> ScyllaStore:
        generation = await generations.enter(name)
        store = await ScyllaStore.open(cql, name, TABLES, create=False)
        held = generation.state == "building"
        runner = PlainRunner(kafka, store, ALL, generation=name, shards=SHARDS, held=held)
        working.append((runner, store))
        await runner.start()
        return store

    try:
        store = await work("g1")
        fresh = ReadSaidRev(store, SHARDS, HttpMetrics(CollectorRegistry()), wait_seconds=60.0)
        steps = [(B, b"\0"), (C, b"\0"), (B, None), (D, b"\1"), (B, b"\0"), (C, b"\2")]
        for subject, value in steps:
            told = await log.operate(Operation(A, MUTE, subject, value))
            await fresh.written(told.shard, told.offset)
            (row,) = await store.get_many(operations.TABLE, [(A, MUTE, subject)])
            assert (None if row is None else row[3]) == value
        await asyncio.gather(*(log.operate(Operation(B, BOOKMARK, f"at://{A}/x/{n}", b"cid")) for n in range(50)))
        assert [row[2] for row in await store.slice(mutes_by_time.TABLE, (A,), limit=10)] == [B]

        found = [
            decode(m.key, m.value, m.headers, m.offset + 1)
            for m in await read_all(kafka, OPERATIONS, shard_of(A, SHARDS))
        ]
        assert [(each.subject, each.value) for each in found if each.did == A] == steps

        assert (await generations.build("g2")).state == "building"
        await work("g2")
        async with asyncio.timeout(120):
            while (await generations.advance("g2")).state != "ready":  # noqa: ASYNC110 - it is workers that bring it there
                await asyncio.sleep(0.2)
        diff = await generations.diff("g1", "g2")
        by_name = {view.view: view for view in diff.views}
        assert diff.equal, [view for view in diff.views if view.left != view.right]
        assert by_name["operations"].lines == (53, 53)
        assert by_name["mutes_by_time"].lines == (1, 1)
        assert {topic for topic, _, _ in diff.vector} == {"records", "operations"}
        assert sum(at for topic, _, at in diff.vector if topic == "operations") == len(steps) + 50
        assert (await generations.flip("g2")).state == "live"
    finally:
        await log.close()
        for runner, each in working:
            await runner.stop()
            await each.close()
        await registry.close()
        await dropped(kafka, cql)
        await drop_all(cql, "g2")


async def left(kafka: KafkaSettings) -> dict[str, set[str]]:
    """By owner, the subjects whose last message has a value."""
    found: dict[str, dict[str, bool]] = {}
    for shard in range(SHARDS):
        for message in await read_all(kafka, OPERATIONS, shard):
            each = decode(message.key, message.value, message.headers, message.offset + 1)
            found.setdefault(each.did, {})[each.subject] = each.value is not None
    return {did: {subject for subject, there in of.items() if there} for did, of in found.items()}


@pytest.mark.timeout(180)
async def test_the_deletion_of_an_account_takes_away_what_it_has_set_and_nothing_of_others(
    kafka_servers, cluster_name, directory
):
    kafka = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}d")
    await ensure_topics(kafka, SHARDS)
    clock = iter(range(1, 100))
    log = KafkaOperations(kafka, SHARDS, seconds=SECONDS, now=lambda: next(clock))

    try:
        for subject in dids(10)[4:]:
            for owner in (A, B, C):
                await log.operate(Operation(Did(owner), MUTE, subject, b"\0"))
        await log.operate(Operation(Did(A), MUTE, dids(10)[4], None))
        await append(kafka, [Account(Did(each), "active", 0) for each in (A, B, C)], SHARDS)
        await append(kafka, [Account(Did(A), "deleted", 40)], SHARDS)
        await run_derive(kafka, directory, SHARDS, step=2)  # several transactions
        first = await left(kafka)

        clock = iter((45,))
        await log.operate(Operation(Did(A), MUTE, D, b"\0"))
        await append(kafka, [Account(Did(A), "active", 41), Account(Did(B), "deleted", 50)], SHARDS)
        await run_derive(kafka, directory, SHARDS)  # goes on with the file
        second = await left(kafka)
        await append(kafka, [Account(Did(A), "deleted", 60)], SHARDS)
        await run_derive(kafka, directory / "elsewhere", SHARDS)  # begins the file anew
        third = await left(kafka)
    finally:
        await log.close()
        await drop_topics(kafka)

    everything = set(dids(10)[4:])
    assert first == {A: set(), B: everything, C: everything}
    assert second == {A: {D}, B: set(), C: everything}
    assert third == {A: set(), B: set(), C: everything}


@pytest.mark.timeout(180)
async def test_what_an_account_sets_once_it_is_back_stays_however_late_derive_comes(
    kafka_servers, cluster_name, directory
):
    kafka = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}b")
    await ensure_topics(kafka, SHARDS)
    clock = iter((10, 11, 30, 50))
    log = KafkaOperations(kafka, SHARDS, seconds=SECONDS, now=lambda: next(clock))
    states = ((0, "active"), (20, "deleted"), (21, "active"), (40, "deleted"), (41, "active"))
    try:
        for subject in (B, C, C, D):  # C again between the two deletions
            await log.operate(Operation(Did(A), MUTE, subject, b"\0"))
        await append(kafka, [Account(Did(A), status, at) for at, status in states], SHARDS)
        await run_derive(kafka, directory, SHARDS)
        found = await left(kafka)
    finally:
        await log.close()
        await drop_topics(kafka)

    assert found == {A: {D}}


async def test_without_a_broker_a_call_is_answered_503(cluster_name):
    away = KafkaOperations(KafkaSettings(servers="127.0.0.1:1", cluster=cluster_name), SHARDS, seconds=5.0)
    with pytest.raises(LogAwayError) as caught:
        await away.operate(Operation(A, MUTE, B, b"\0"))
    await away.close()

    assert (caught.value.status, caught.value.outcome) == (503, "absent")


@pytest.mark.parametrize(("point", "there"), [("operations.before_send", False), ("operations.after_send", True)])
async def test_an_appview_that_dies_at_a_call_has_written_all_of_it_or_nothing(
    kafka_servers, cluster_name, point, there
):
    kafka = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}{'x' if there else 'y'}")
    await ensure_topics(kafka, SHARDS)
    try:
        caller = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CALLER, kafka.servers, kafka.cluster, str(SHARDS), A, B,
            env={**os.environ, crash.ENVIRONMENT: f"{point}:1"},
        )  # fmt: skip
        assert await caller.wait() == -signal.SIGKILL
        assert await left(kafka) == ({A: {B}} if there else {})
    finally:
        await drop_topics(kafka)


_CALLER = """
import asyncio, sys
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.operations import KafkaOperations
from schemas.operations import MUTE, Operation

async def main(servers, cluster, shards, who, whom):
    log = KafkaOperations(KafkaSettings(servers=servers, cluster=cluster), int(shards))
    await log.operate(Operation(who, MUTE, whom, bytes(1)))

asyncio.run(main(*sys.argv[1:]))
"""
