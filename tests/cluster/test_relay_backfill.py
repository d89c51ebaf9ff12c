"""`headrace backfill` into a cluster's log: all of a host in `records` beside its stream, without gap or repetition."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator

import pytest

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.topics import ensure_topics
from schemas.entries import Commit, Derived, Diff, HeadEntry, RecordEntry
from schemas.entry_codec import decode
from schemas.topics import COMMITS
from tests.cluster.test_relay import Cluster, world
from tests.relay.test_backfill_command import Command, ended
from tests.relay.world.host import Member
from tests.relay.world.relay import until
from tests.support.kafka_log import derived, drop_topics, read_all, records_of

pytestmark = [pytest.mark.cluster, pytest.mark.drill]

SHARDS = 2
ACCOUNTS = 8
BEFORE, MEANWHILE, AFTER = 20, 40, 2  # commits of each: unheard, during the backfill, afterwards


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, kafka_servers: str, cluster_name: str) -> Iterator[Cluster]:
    kafka = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    asyncio.run(ensure_topics(kafka, SHARDS))
    made = Cluster(tmp_path_factory.mktemp("backfill"), kafka)
    try:
        made.derive.start()
        yield made
    finally:
        made.derive.kill()
        asyncio.run(drop_topics(kafka))


@pytest.mark.parametrize("served", [True, False], ids=["beside a relay", "alone"])
async def test_all_of_a_host_is_in_the_clusters_log(cluster: Cluster, served: bool) -> None:  # noqa: FBT001
    async with world() as (host, plc):
        members = [host.add(6_000 + 100 * served + number) for number in range(ACCOUNTS)]
        for member in members:
            for _ in range(BEFORE):
                member.write()  # nobody is told
        relay = cluster.relay(host, plc, f"-{served}")
        try:
            if served:
                await asyncio.to_thread(relay.start)
            process = await Command(relay.directory, plc, **cluster.settings).begin(host.name, "--trusted")
            for _ in range(MEANWHILE):
                await host.say(*(member.write() for member in members))
            done = await ended(process)
            assert done.code == 0, done.said
            (view,) = done.views
            assert (view["accounts"], view["failed"]) == (ACCOUNTS, {})
            assert view["became"].get("fetched", 0) + view["became"].get("current", 0) == ACCOUNTS
            if not served:
                await asyncio.to_thread(relay.start)
            for _ in range(AFTER):
                await host.say(*(member.write() for member in members))

            await until(lambda: host.sent >= AFTER * ACCOUNTS)
            shown: dict[str, dict[str, str]] = {}
            revs: dict[str, str] = {}

            async def whole() -> bool:
                nonlocal shown, revs
                await derived(cluster.kafka, SHARDS)
                shown, revs = await _shown(cluster.kafka)
                return all(revs.get(member.did) == member.rev for member in members)

            async with asyncio.timeout(120):
                while not await whole():  # noqa: ASYNC110 - other processes bring it there
                    await asyncio.sleep(0.2)
            assert {member.did: sorted(shown[member.did]) for member in members} == {
                member.did: sorted(member.records) for member in members
            }
            await _chains(cluster.kafka, members)
            await asyncio.to_thread(relay.stop)
        finally:
            relay.kill()


async def _shown(kafka: KafkaSettings) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """By account: what is live in `records`, path to CID; and its rev."""
    shown: dict[str, dict[str, str]] = defaultdict(dict)
    revs: dict[str, str] = {}
    entries: list[Derived] = []
    for shard in range(SHARDS):
        entries += await records_of(kafka, shard)
    for entry in entries:
        if isinstance(entry, HeadEntry):
            revs[entry.did] = entry.rev
        if isinstance(entry, RecordEntry):
            path = f"{entry.collection}/{entry.rkey}"
            if entry.cid is None:
                shown[entry.did].pop(path, None)
            else:
                shown[entry.did][path] = str(entry.cid)
    return shown, revs


async def _chains(kafka: KafkaSettings, members: list[Member]) -> None:
    """Who was fetched was so by one diff at most each: what the stream brought is on top of it."""
    diffs: dict[str, int] = defaultdict(int)
    commits: dict[str, list[str]] = defaultdict(list)
    for shard in range(SHARDS):
        for message in await read_all(kafka, COMMITS, shard):
            entry = decode(message.value)
            if isinstance(entry, Diff):
                diffs[entry.did] += 1
            if isinstance(entry, Commit):
                commits[entry.did].append(entry.rev)
    for member in members:
        assert diffs[member.did] == 1
        assert len(set(commits[member.did])) == len(commits[member.did])
