"""`headrace relay` on a cluster's log: killed with derive under load, beside another one, of a host that lost events.

The host is a real server with real keys (tests/relay/world); what is in `records` and `firehose` is compared with it.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.topics import ensure_topics
from ingest.relay.directory import HostLimits
from ingest.relay.hosts_store import HostRow, HostsStore
from ingest.repo.frame import decode_frame
from ingest.repo.messages import CommitMessage, SyncMessage
from schemas.crash import ENVIRONMENT
from schemas.entries import Commit, HeadEntry, RecordEntry
from schemas.topics import shard_of
from tests.relay.world.host import START, Host, Member
from tests.relay.world.people import People, served
from tests.relay.world.relay import until
from tests.support.kafka_log import derived, drop_topics, firehose_of, records_of
from tests.support.roles import Role

pytestmark = [pytest.mark.cluster, pytest.mark.chaos, pytest.mark.drill]

SEED = int(os.environ.get("HEADRACE_CHAOS_SEED", "7"))
SHARDS = 2
SECONDS = 120.0
ROUND = 150  # commits between two kills
NUMBERS = count(5_000)

Said = dict[str, list[str]]
"""By account, the revs that its host said, in order."""


class Cluster:
    """Topics and a derive that runs; `role` makes others."""

    def __init__(self, directory: Path, kafka: KafkaSettings) -> None:
        self.directory = directory
        self.kafka = kafka
        self.settings = {"kafka_servers": kafka.servers, "cluster": kafka.cluster, "shards": str(SHARDS)}
        self.derive = self.role("derive")

    def role(self, name: str, label: str = "", crash: str = "", **settings: str) -> Role:
        settings = {**self.settings, "log_level": "warning", **settings}
        return Role(name, self.directory / (name + label), settings, {ENVIRONMENT: crash} if crash else {})

    def relay(self, host: Host, plc: str, label: str, crash: str = "") -> Role:
        """It knows the host already, as a trusted one: it may send as much as a test does."""
        role = self.role("relay", label, crash, plc_url=plc, allow_private_addresses="true", relay_port="0")
        if not (role.directory / "relay.sqlite").exists():
            role.directory.mkdir(parents=True)
            store = HostsStore(role.directory / "relay.sqlite")
            store.put_host(HostRow(0, host.name, host.url, None, START, False, False, True, False, HostLimits()))
            store.close()
        return role


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, kafka_servers: str, cluster_name: str) -> Iterator[Cluster]:
    kafka = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    asyncio.run(ensure_topics(kafka, SHARDS))
    made = Cluster(tmp_path_factory.mktemp("relay"), kafka)
    try:
        made.derive.start()
        yield made
    finally:
        made.derive.kill()
        asyncio.run(drop_topics(kafka))


@asynccontextmanager
async def world() -> AsyncIterator[tuple[Host, str]]:
    """A host, and the address of the directory that its accounts are in."""
    people = People()
    async with Host(people) as host, served(people) as plc:
        yield host, plc


def written(rng: random.Random, members: list[Member], said: Said, number: int) -> list[Commit]:
    commits = [rng.choice(members).write() for _ in range(number)]
    for commit in commits:
        said[commit.did].append(commit.rev)
    return commits


async def talk(host: Host, commits: list[Commit]) -> None:
    """A thousand a second, about."""
    for at in range(0, len(commits), 20):
        await host.say(*commits[at : at + 20])
        await asyncio.sleep(0.02)


async def heard(relay: Role, said: Said) -> list[CommitMessage | SyncMessage]:
    """What subscribeRepos of a relay shows of these accounts, up to the newest rev of each."""
    waiting, found = {did: revs[-1] for did, revs in said.items()}, list[CommitMessage | SyncMessage]()
    async with (
        asyncio.timeout(SECONDS),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{relay.url}/xrpc/com.atproto.sync.subscribeRepos?cursor=0", max_msg_size=0) as socket,
    ):
        while waiting:
            message = decode_frame(await socket.receive_bytes())
            if isinstance(message, CommitMessage | SyncMessage) and message.did in said:
                found.append(message)
                if message.rev >= waiting.get(message.did, "~"):
                    del waiting[message.did]
    return found


def revs_of(messages: list[CommitMessage | SyncMessage]) -> Said:
    found: Said = defaultdict(list)
    for message in messages:
        found[message.did].append(message.rev)
    return found


async def check(cluster: Cluster, members: list[Member], chains: Said) -> None:
    """`records` and `firehose` hold each account's chain once, in order, and the records that its host has."""
    await derived(cluster.kafka, SHARDS)
    heads: Said = defaultdict(list)
    live: dict[str, dict[str, bytes]] = {member.did: {} for member in members}
    for shard in range(SHARDS):
        for entry in await records_of(cluster.kafka, shard):
            if isinstance(entry, HeadEntry) and entry.did in chains:
                heads[entry.did].append(entry.rev)
            elif isinstance(entry, RecordEntry) and entry.did in live:
                assert shard_of(entry.did, SHARDS) == shard
                live[entry.did].pop(f"{entry.collection}/{entry.rkey}", None)
                if entry.value is not None:
                    live[entry.did][f"{entry.collection}/{entry.rkey}"] = entry.value
    events: dict[str, int] = defaultdict(int)
    for event in await firehose_of(cluster.kafka):
        if event.did in chains:
            events[event.did] += event.kind in ("commit", "sync")
    assert heads == chains, f"seed {SEED}"
    assert events == {did: len(revs) for did, revs in chains.items()}, f"seed {SEED}"
    assert live == {member.did: member.records for member in members}


async def test_a_relay_and_derive_killed_under_load_leave_no_gap_and_nothing_twice(cluster: Cluster) -> None:
    rng = random.Random(SEED)
    said: Said = defaultdict(list)
    async with world() as (host, plc):
        members = [host.add(next(NUMBERS)) for _ in range(8)]
        relay = await asyncio.to_thread(cluster.relay(host, plc, "-killed").start)
        try:
            for kill in range(3):
                talking = asyncio.create_task(talk(host, written(rng, members, said, ROUND)))
                if kill == 1:  # right after the broker's word, and before anybody in the relay knows of it
                    await asyncio.to_thread(relay.wait)
                    assert "crash: log.after_commit" in relay.tail()
                else:
                    goal = host.sent + rng.randrange(1, ROUND)
                    await until(lambda goal=goal: host.sent >= goal)
                    await asyncio.to_thread(relay.kill)
                if kill == 0:
                    await asyncio.to_thread(cluster.derive.kill)
                    # Begun in this thread: a process ends with the thread that began it, and derive is to stay.
                    cluster.derive.begin()
                await talking
                relay = cluster.relay(host, plc, "-killed", crash="log.after_commit:60" if kill == 0 else "").begin()
            await asyncio.to_thread(cluster.derive.await_ready)
            await asyncio.to_thread(relay.await_ready)
            shown = await heard(relay, said)
            cursors = len(host.cursors)
            assert await asyncio.to_thread(relay.stop) == 0
        finally:
            relay.kill()
        assert cursors >= 4
        assert revs_of(shown) == said, f"seed {SEED}"
        seqs = [message.seq for message in shown]
        assert seqs == sorted(set(seqs))
        await check(cluster, members, said)


async def test_two_relays_on_one_log_fork_nothing_and_mend_what_their_host_lost(cluster: Cluster) -> None:
    rng = random.Random(SEED)
    said: Said = defaultdict(list)
    async with world() as (host, plc):
        members = [host.add(next(NUMBERS)) for _ in range(5)]
        relays = [cluster.relay(host, plc, label).begin() for label in ("-one", "-two")]
        try:
            for relay in relays:
                await asyncio.to_thread(relay.await_ready)
            await talk(host, written(rng, members, said, ROUND))
            first = [revs_of(await heard(relay, said)) for relay in relays]
            lost, *_ = members
            lost.write(3)  # nobody is told
            lost.write()
            last = written(rng, [lost], said, 1)
            await talk(host, last)
            both = [await heard(relay, said) for relay in relays]
            for relay in relays:
                assert await asyncio.to_thread(relay.stop) == 0
        finally:
            for relay in relays:
                relay.kill()
        assert first == [{did: revs[: len(first[0][did])] for did, revs in said.items()}] * 2
        assert [(each.seq, each.rev) for each in both[0]] == [(each.seq, each.rev) for each in both[1]]
        # The gap is closed by the fetched repo, which a #sync tells subscribers of.
        assert [type(each) for each in both[0] if each.did == lost.did][-1] is SyncMessage
        assert revs_of(both[0]) == said
        await check(cluster, members, said)
