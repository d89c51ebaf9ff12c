"""The oracle on a cluster: random networks, one log, one keyspace, and what each of them is shown through CQL.

The networks cannot see each other (fresh DIDs, names of their own), so that all are derived and indexed at once, their
entries mixed in every batch; each has its own model. Of so many networks a part is asked for: one viewer of each, some
of its feeds, threads and lists. What a network shows to everybody is compared in one process (`tests/oracle`).
"""

from __future__ import annotations

import asyncio
import random

import pytest

from ingest.log_kafka.client import KafkaSettings
from tests.bench.cluster_parts import as_an_appview
from tests.oracle.answers import Answers
from tests.oracle.compare import Comparison, Watch
from tests.oracle.run import HABITS
from tests.support.cluster_river import river
from tests.support.cql_store import driver
from tests.support.crowd import Crowd, Member
from tests.support.fast_network import TIGHT
from views.store_scylla import CqlSettings, ScyllaStore

pytestmark = pytest.mark.cluster

NETWORKS = 200
STEPS = 40
SHARDS = 4
AT_ONCE = 24
FIRST_SEED = 40_000
SEEN = (
    "getProfile",
    "getProfiles",
    "searchActorsTypeahead",
    "getRelationships",
    "getPosts",
    "getTimeline",
    "getAuthorFeed",
    "getPostThread",
    "getLikes",
    "getRepostedBy",
    "getQuotes",
    "getFollowers",
    "getFollows",
    "getBlocks",
    "getMutes",
    "getBookmarks",
)


@pytest.mark.timeout(600)
async def test_networks_that_share_a_cluster_are_each_what_their_model_says(
    directory, kafka_servers, cql_address, cluster_name
):
    kafka = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    cql = CqlSettings(hosts=(cql_address[0],), port=cql_address[1], keyspace=cluster_name, driver=driver())
    crowd = await Crowd(directory, SHARDS).open()
    try:
        await crowd.live(range(FIRST_SEED, FIRST_SEED + NETWORKS), STEPS, HABITS)
        models = await crowd.read()
        commits = await crowd.commits()
        operations = await crowd.operations()
        async with river(directory, kafka, cql, commits, shards=SHARDS, settings=TIGHT, operations=operations) as (
            store,
            derive,
        ):
            assert derive.entries == len(commits)
            assert sum(derive.rejected.values()) == sum(model.refused for model in models) > 0
            watch = await compared(store, crowd.members)
    finally:
        await crowd.close()

    for endpoint in SEEN:
        assert watch.counts[f"{endpoint} with something"] > 20, f"{endpoint} was hardly seen: {watch.counts}"
    for gated in ("gated", "detached", "not for the viewer", "violations"):
        assert watch.counts[gated], f"{gated}: nowhere: {watch.counts}"


class Drawn(Comparison):
    """Accounts and posts all, of the rest as much as takes a moment."""

    async def of_viewer(self, viewer: str | None) -> None:
        says, uris, dice = Answers(self.frozen, viewer), self.uris(), self.dice
        await self._accounts(viewer, says)
        await self._posts(viewer, says, uris)
        self.dids = dice.sample(self.dids, min(2, len(self.dids)))
        await self._feeds(viewer, says)
        await self._threads(viewer, says, dice.sample(uris, min(6, len(uris))))
        await self._lists(viewer, says, dice.sample(uris, min(4, len(uris))))


async def compared(store: ScyllaStore, members: list[Member]) -> Watch:
    """Every network before somebody of it, every fifth before nobody too, so many networks at once."""
    network, watch, gate = as_an_appview(store), Watch(), asyncio.Semaphore(AT_ONCE)

    async def one(member: Member) -> None:
        dice = random.Random(member.number)
        context = f"seed {FIRST_SEED + member.number} of {NETWORKS}"
        comparison = Drawn(member.model, network, member.dids, dice, watch=watch, context=context)
        comparison.queries = member.queries
        # Of those who mute somebody, where there are any: of it nobody else sees anything.
        muting = [did for did in member.dids if member.model.own(did, "mute")]
        viewers = [dice.choice(muting or member.dids), *([None] if member.number % 5 == 0 else [])]
        async with gate:
            await comparison.everything(viewers)

    async with asyncio.TaskGroup() as group:
        for member in members:
            group.create_task(one(member))
    return watch
