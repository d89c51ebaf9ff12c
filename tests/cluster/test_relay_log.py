"""The log as a cluster's relay has it: what two writers say is taken once, what derive refuses comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from ingest.log import Reason, Rejected
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.derive.worker import DeriveWorker
from ingest.log_kafka.pds.log import KafkaPdsLog
from ingest.log_kafka.relay.log import KafkaRelayLog
from ingest.log_kafka.relay.own_hosts import OwnHosts
from ingest.log_kafka.topics import ensure_topics
from ingest.relay.repo_diff import append_diff, changes
from schemas.cid import Cid
from schemas.entries import Account, HeadEntry, RecordEntry
from schemas.entry_codec import encode
from schemas.topics import shard_of
from tests.relay.world.host import Member
from tests.support.kafka_log import append, drop_topics, firehose_of, records_of

pytestmark = pytest.mark.cluster

SHARDS = 2
SECONDS = 60.0
NUMBERS = count(1_000)


@pytest.fixture(scope="module")
def kafka(kafka_servers: str, cluster_name: str) -> Iterator[KafkaSettings]:
    settings = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    asyncio.run(ensure_topics(settings, SHARDS))
    yield settings
    asyncio.run(drop_topics(settings))


@asynccontextmanager
async def opened(kafka: KafkaSettings, directory: Path) -> AsyncIterator[KafkaRelayLog]:
    log = await KafkaRelayLog.open(kafka, directory, SHARDS)
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def deriving(kafka: KafkaSettings, tmp_path: Path) -> AsyncIterator[DeriveWorker]:
    worker = DeriveWorker(kafka, tmp_path / "derive", SHARDS, only=range(SHARDS))
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()
        assert worker.failure is None


def member() -> Member:
    return Member(next(NUMBERS))


async def decided(log: KafkaRelayLog) -> None:
    """Return once derive has judged all that was appended, and the log knows."""
    async with asyncio.timeout(SECONDS):
        while log.undecided:  # noqa: ASYNC110 - nothing tells a test of it
            await asyncio.sleep(0.01)


async def chain(kafka: KafkaSettings, did: str) -> list[str]:
    """The revs of the heads that `records` were given of an account, in order."""
    found = await records_of(kafka, shard_of(did, SHARDS))
    return [entry.rev for entry in found if isinstance(entry, HeadEntry) and entry.did == did]


async def test_an_account_goes_on_before_derive_has_judged_it(kafka: KafkaSettings, tmp_path: Path) -> None:
    alice = member()
    commits = [alice.write(2), alice.write(), alice.write(1, (f"{next(iter(alice.records))}", None))]
    async with opened(kafka, tmp_path / "relay") as log:
        for commit in commits:
            await log.append(commit)
        ahead = (log.head(alice.did), log.undecided, log.cids(alice.did))
        with pytest.raises(Rejected) as again:
            await log.append(commits[1])

        async with deriving(kafka, tmp_path):
            async with asyncio.timeout(SECONDS):
                await log.settled(alice.did)
            cids = dict(log.cids(alice.did))
            assert log.undecided == 0
            assert log.refused == 0
            assert log.head(alice.did).data == alice.data  # type: ignore[union-attr]

    assert (ahead[0].rev, ahead[0].data, ahead[1:]) == (alice.rev, alice.data, (3, []))  # type: ignore[union-attr]
    assert again.value.reason is Reason.STALE_REV
    assert cids.keys() == alice.records.keys()
    assert await chain(kafka, alice.did) == [commit.rev for commit in commits]


async def test_what_two_relays_say_is_taken_once(kafka: KafkaSettings, tmp_path: Path) -> None:
    people = [member() for _ in range(4)]
    said = [each.write() for _ in range(5) for each in people]
    before = len(await firehose_of(kafka))
    async with opened(kafka, tmp_path / "one") as one, opened(kafka, tmp_path / "two") as two:
        for commit in said:
            await asyncio.gather(one.append(commit), two.append(commit))

        async with deriving(kafka, tmp_path) as worker:
            await asyncio.gather(decided(one), decided(two))
            refused = worker.rejected.total()
            assert (one.refused, two.refused) == (0, 0)
            for each in people:
                assert one.head(each.did) == two.head(each.did)
                assert one.head(each.did).data == each.data  # type: ignore[union-attr]

    assert refused == len(said)
    for each in people:
        assert await chain(kafka, each.did) == [commit.rev for commit in said if commit.did == each.did]
    assert len(await firehose_of(kafka)) - before == len(said)


async def mended(log: KafkaRelayLog, whole: Member) -> None:
    """As a resync does it: the difference of what the log holds to the repo that the account's host has."""
    await log.settled(whole.did)
    cids = {path: Cid.of_cbor(record).raw for path, record in whole.records.items()}
    blocks = {Cid.of_cbor(record).raw: record for record in whole.records.values()}
    ops = await changes(log, whole.did, cids, blocks)
    assert whole.signed is not None
    await append_diff(log, log.head(whole.did), whole.signed, ops)


async def test_a_refused_entry_comes_back_and_its_account_can_be_mended(kafka: KafkaSettings, tmp_path: Path) -> None:
    number = next(NUMBERS)
    alice, twin = Member(number), Member(number)  # another writer brings the account elsewhere
    first = alice.write()
    assert twin.write() == first
    async with opened(kafka, tmp_path / "relay") as log:
        told: list[str] = []
        log.follow(told.append)
        async with deriving(kafka, tmp_path):
            await log.append(first)
            await decided(log)
        fork = twin.write(3)
        await append(kafka, [fork], SHARDS)
        for commit in (alice.write(), alice.write()):
            await log.append(commit)

        async with deriving(kafka, tmp_path):
            await decided(log)
            assert told == [alice.did]
            assert log.head(alice.did).rev == fork.rev  # type: ignore[union-attr]
            await mended(log, alice)
            await decided(log)

            assert log.head(alice.did).data == alice.data  # type: ignore[union-attr]
            assert [path for path, _ in log.cids(alice.did)] == sorted(alice.records)
    assert log.refused == 1
    assert await chain(kafka, alice.did) == [first.rev, fork.rev, alice.rev]
    live = {entry.uri: entry.value for entry in await live_of(kafka, alice.did)}
    assert live == {f"at://{alice.did}/{path}": record for path, record in alice.records.items()}


async def live_of(kafka: KafkaSettings, did: str) -> list[RecordEntry]:
    """The account's live records."""
    found: dict[str, RecordEntry] = {}
    for entry in await records_of(kafka, shard_of(did, SHARDS)):
        if isinstance(entry, RecordEntry) and entry.did == did:
            found[entry.uri] = entry
    return [entry for entry in found.values() if entry.value is not None]


async def test_what_the_process_before_wrote_and_derive_refused_is_told_at_the_start(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    number = next(NUMBERS)
    alice, twin, bob = Member(number), Member(number), member()
    async with opened(kafka, tmp_path / "relay") as log, deriving(kafka, tmp_path):
        await log.append(alice.write())
        await log.append(bob.write())
        await decided(log)
    twin.write()
    async with opened(kafka, tmp_path / "relay") as log:
        await append(kafka, [twin.write(2)], SHARDS)
        for commit in (alice.write(), bob.write(), alice.write()):
            await log.append(commit)
    told: list[str] = []

    # It waits for derive, which begins later.
    starting = asyncio.ensure_future(KafkaRelayLog.open(kafka, tmp_path / "relay", SHARDS))
    async with deriving(kafka, tmp_path):
        log = await starting
        log.follow(told.append)
        await log.close()

    assert told == [alice.did]


async def test_a_producer_that_has_ended_is_replaced_and_what_it_had_is_dropped(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    """Who is not told whether an entry is in sends it again: the verdict takes one of the two."""
    alice = member()
    async with opened(kafka, tmp_path / "relay") as log:
        first = alice.write()
        await log.append(first)
        appender = log._appender
        await appender.put(shard_of(alice.did, SHARDS), alice.did.encode(), encode(first))
        assert appender._producer is not None
        await appender._producer.stop()
        second = alice.write()
        await log.append(second)
        assert log.repeated == 1

        async with deriving(kafka, tmp_path) as worker:
            await decided(log)
            assert worker.rejected.total() == 1
    assert log.refused == 0
    assert await chain(kafka, alice.did) == [first.rev, second.rev]


async def test_who_is_cancelled_while_an_entry_is_sent_leaves_it_known(kafka: KafkaSettings, tmp_path: Path) -> None:
    alice = member()
    async with opened(kafka, tmp_path / "relay") as log:
        appending = asyncio.ensure_future(log.append(alice.write()))
        await asyncio.sleep(0)
        appending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await appending
        second = alice.write()
        await log.append(second)

        async with deriving(kafka, tmp_path) as worker:
            await decided(log)
            assert worker.rejected.total() == 0
    assert (await chain(kafka, alice.did))[-1:] == [second.rev]


async def test_a_deleted_account_takes_nothing_until_it_is_back(kafka: KafkaSettings, tmp_path: Path) -> None:
    alice = member()
    async with opened(kafka, tmp_path / "relay") as log, deriving(kafka, tmp_path):
        await log.append(alice.write(3))
        await log.append(Account(alice.did, "deleted"))
        late = alice.write()
        with pytest.raises(Rejected) as refused:
            await log.append(late)
        await decided(log)
        gone = log.cids(alice.did)
        await log.append(Account(alice.did, "active"))
        alice.begin()
        await log.append(alice.write())
        await decided(log)

        assert refused.value.reason is Reason.DELETED
        assert gone == []
        assert log.head(alice.did).data == alice.data  # type: ignore[union-attr]
        assert len(log.cids(alice.did)) == 1


async def test_a_pds_says_where_it_is_so_that_no_relay_reads_it(kafka: KafkaSettings, tmp_path: Path) -> None:
    hosts = OwnHosts(kafka)
    await hosts.refresh()
    assert hosts.names == frozenset()

    pds = await KafkaPdsLog.open(kafka, "one", tmp_path, SHARDS, host="PDS.example.com")
    await pds.close()
    await hosts.refresh()

    assert hosts.names == {"pds.example.com"}
