"""Identical `commits`, byte for byte, make identical `records`, `firehose` and rows in one process and in a cluster.

With one shard there is one order, so that every table must be equal; with several, timelines and what feeds them depend
on the order between shards, and their answers are compared instead.
"""

from __future__ import annotations

import random

import pytest

from ingest.log_kafka.client import KafkaSettings
from processors.digest import comparable, lines_of
from processors.run_embedded import EmbeddedRunner
from schemas import entry_codec
from schemas.entries import Derived, FirehoseEvent
from schemas.topics import COMMITS
from tests.oracle import seen
from tests.oracle.answers import Answers
from tests.oracle.compare import Comparison, Watch
from tests.oracle.run import HABITS
from tests.support.asking import InProcess
from tests.support.cluster_river import river
from tests.support.cql_store import driver
from tests.support.crowd import Crowd
from tests.support.derive_world import World, check
from tests.support.fast_network import TIGHT
from tests.support.kafka_log import read_all
from views import ALL
from views.store_scylla import CqlSettings, ScyllaStore
from views.store_sqlite import SqliteStore
from views.view import FanoutSettings, View

pytestmark = pytest.mark.cluster

STEPS = 90
SEEDS = range(70, 76)
# What has grown is cut at every so many offsets of a hop, which watermarks share with edges: here, at none.
UNCUT = FanoutSettings(pull_above=2, backfill=3, trim_every=1_000_000)
CASES = {"one_shard": (1, UNCUT, ALL), "four_shards": (4, TIGHT, comparable(ALL))}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES)
async def test_both_modes_make_the_same_of_the_same_entries(directory, kafka_servers, cql_address, cluster_name, case):
    shards, settings, views = CASES[case]
    kafka = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}{shards}")
    cql = CqlSettings(hosts=(cql_address[0],), port=cql_address[1], keyspace=f"{cluster_name}{shards}", driver=driver())
    crowd = await Crowd(directory, shards).open()
    store = SqliteStore(directory / "views.sqlite", [view.table for view in ALL])
    runner = EmbeddedRunner(crowd.log, store, ALL, settings)
    try:
        await runner.start()
        await crowd.live(SEEDS, STEPS, HABITS)
        await runner.process_all()
        await crowd.read()
        commits = await crowd.commits()
        operations = await crowd.operations()
        assert len(operations) > 20
        async with river(directory, kafka, cql, commits, shards=shards, settings=settings, operations=operations) as (
            cluster,
            _,
        ):
            await same_log(crowd, kafka, commits, sum(member.model.refused for member in crowd.members))
            await same_rows(store, cluster, views)
            if shards > 1:
                await same_timelines(crowd, cluster)
    finally:
        await runner.stop()
        await store.close()
        await crowd.close()


async def same_log(crowd: Crowd, kafka: KafkaSettings, commits: list, refused: int) -> None:
    """All three topics, as readers see them."""
    records: list[list[Derived]] = []
    events: list[FirehoseEvent] = await crowd.log.read_firehose(0, 100_000)
    for shard in range(crowd.shards):
        had = [entry_codec.encode(entry) for at, _, entry in commits if at == shard]
        assert [message.value for message in await read_all(kafka, COMMITS, shard)] == had
        records.append(await crowd.log.read_records(shard, 0, 100_000))
    assert refused
    assert sum(map(len, records)) > len(commits) > len(SEEDS) * STEPS / 2
    assert len(events) > len(SEEDS) * STEPS / 2
    await check(kafka, World(crowd.shards, [entry for _, _, entry in commits], records, events, refused))


async def same_rows(store: SqliteStore, cluster: ScyllaStore, views: list[View]) -> None:
    """Row for row; what differs is named by table and key."""
    differing: list[str] = []
    compared = 0
    for view in views:
        ours = {line.encoded(): line async for line in lines_of(store, view.table)}
        theirs = {line.encoded(): line async for line in lines_of(cluster, view.table)}
        compared += len(ours) > 0
        differing += [f"{view.name}: {line.key} in one process alone" for at, line in ours.items() if at not in theirs]
        differing += [f"{view.name}: {line.key} in the cluster alone" for at, line in theirs.items() if at not in ours]
    assert not differing, f"{len(differing)} rows differ:\n" + "\n".join(differing[:40])
    empty = [view.name for view in views if not [None async for _ in lines_of(store, view.table)]]
    assert compared == len(views), f"nothing was compared of {empty}"


async def same_timelines(crowd: Crowd, cluster: ScyllaStore) -> None:
    asked = InProcess(cluster)
    for member in crowd.members:
        context = f"network {member.number}"
        comparison = Comparison(
            member.model, asked, member.dids, random.Random(member.number), watch=Watch(), context=context
        )
        for viewer in member.dids:
            found = await comparison._pages("feed.getTimeline", viewer, "feed", seen.item, limit=7)
            comparison._same(viewer, "getTimeline", found, Answers(comparison.frozen, viewer).get_timeline())
