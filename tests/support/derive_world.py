"""A random network's `commits` and what must follow from them: the embedded log's own records and events."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import apsw
import msgspec

from ingest.log import Rejected
from ingest.log_kafka.client import KafkaSettings
from ingest.log_sqlite.log import SqliteLog
from schemas.entries import Account, Derived, Entry, FirehoseEvent, Moderation
from tests.support.kafka_log import firehose_of, records_of
from tests.support.log_model import Model, Network
from tests.support.log_world import Repo, record_of

STEP = 4


@dataclass(frozen=True)
class World:
    shards: int
    entries: list[Entry]
    """In the order of `commits`, shard by shard; refused ones among them."""
    records: list[list[Derived]]
    events: list[FirehoseEvent]
    refused: int


async def make_world(path: Path, seed: int, bursts: int, shards: int) -> World:
    """Commits, forks, states, takedowns, diffs in chunks, and at the end a deletion that takes several steps."""
    log = await SqliteLog.open(path, shards=shards, step=STEP)
    network, model, refused = Network(seed, 5), Model(), 0
    for _ in range(bursts):
        network.follow(model)
        for entry in [network.entry() for _ in range(6)]:
            try:
                model.apply(entry, (await log.append(entry)).time)
            except Rejected:
                refused += 1
        network.follow(model)
        repo = network.repos[0]
        held = model.accounts.get(repo.did)
        if network.random.random() < 0.3 and held and held.status != "deleted":
            ops = [repo.op(f"app.bsky.feed.post/m{n}", record_of(f"{seed} {n}")) for n in range(11)]
            chunks = repo.diff_entries(ops, 3, (held.rev, held.data), told=network.random.random() < 0.5)
            with contextlib.suppress(Rejected):
                appended = (await log.append_many(chunks))[-1]
                model.apply(msgspec.structs.replace(chunks[0], ops=tuple(ops)), appended.time)
    newcomer = Repo(77, seed)
    for chunk in range(3):
        paths = [f"app.bsky.feed.like/{chunk}{n}" for n in range(6)]
        await log.append(newcomer.commit_entry(*[newcomer.op(path, record_of(path)) for path in paths]))
    await log.append(Account(newcomer.did, "deleted"))
    await log.append(Account(newcomer.did, "active"))
    leaver = Repo(78, seed)  # what moderation says of a deleted account, no entry tells readers
    for entry in (leaver.write(paths[0], record_of("")), Account(leaver.did, "deleted"), Moderation(leaver.did, "x")):
        await log.append(entry)
    await log.close()
    log = await SqliteLog.open(path, shards=shards)
    commits = [[entry for _, entry in await log.read_commits(shard, 0, 100_000)] for shard in range(shards)]
    records = [await log.read_records(shard, 0, 5000) for shard in range(shards)]
    events = await log.read_firehose(0, 5000)
    await log.close()
    assert refused
    return World(shards, [entry for shard in commits for entry in shard], records, events, refused)


async def check(settings: KafkaSettings, world: World) -> None:
    """Nothing missing, nothing twice, and each account's events in their order."""
    for shard in range(world.shards):
        found = await records_of(settings, shard)
        assert [msgspec.structs.replace(entry, offset=entry.n) for entry in found] == world.records[shard]
        offsets = [entry.offset for entry in found]
        assert offsets == sorted(set(offsets))
    events = await firehose_of(settings)
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    assert by_account(events) == by_account(world.events)


def by_account(events: list[FirehoseEvent]) -> dict[str, list[FirehoseEvent]]:
    found = defaultdict(list)
    for event in events:
        found[event.did].append(msgspec.structs.replace(event, seq=0))
    return found


def dump(path: Path) -> tuple[list[object], ...]:
    """What a shard's state file says."""
    con = apsw.Connection(str(path))
    accounts = (
        "SELECT did, rev, data, head, head_at, account_at, status, handle, partial, taken_down, verified_at "
        "FROM accounts ORDER BY did"
    )
    paths = "SELECT did, path, n, first_time FROM paths JOIN accounts ON number=account ORDER BY did, path"
    try:
        return tuple(con.execute(sql).fetchall() for sql in (accounts, paths, "SELECT place FROM meta"))
    finally:
        con.close()
