"""The contract of `ingest.log.Log`: every adapter passes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from ingest.log import Log, Reason, Rejected
from ingest.log_sqlite.log import SqliteLog
from ingest.repo.car import read_car
from ingest.repo.frame import decode_frame
from ingest.repo.messages import SyncMessage
from schemas.cbor import decode
from schemas.cid import Cid
from schemas.entries import (
    Account,
    AccountEntry,
    Derived,
    Diff,
    HeadEntry,
    Identity,
    Moderation,
    Op,
    RecordEntry,
    TakedownEntry,
)
from schemas.errors import InvariantError
from schemas.syntax import Handle
from tests.support.log_world import START, Repo, did, record_of

Open = Callable[..., Awaitable[Log]]
POST = "app.bsky.feed.post/"


@pytest.fixture(params=["sqlite"])
async def open_log(request, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the one log of this test; opening again closes it first, as a restart does."""
    now = {"time": START}
    last: list[Log] = []

    def clock() -> int:
        now["time"] += 1000
        return now["time"]

    async def open_again(shards: int = 1, **options) -> Log:
        if last:
            await last.pop().close()
        assert request.param == "sqlite"
        last.append(await SqliteLog.open(tmp_path / "log.sqlite", shards=shards, now=clock, **options))
        return last[0]

    yield open_again
    if last:
        await last.pop().close()


async def everything(log: Log, shard: int = 0, step: int = 7) -> list[Derived]:
    """All of `records`, read page by page."""
    found: list[Derived] = []
    while page := await log.read_records(shard, found[-1].offset if found else 0, step):
        found += page
    return found


def records_of(entries: list[Derived]) -> list[tuple[str, bytes | None, int]]:
    return [(e.uri, e.value, e.first_time) for e in entries if isinstance(e, RecordEntry)]


async def refused(log: Log, entry) -> Reason:
    with pytest.raises(Rejected) as caught:
        await log.append(entry)
    assert isinstance(caught.value.reason, Reason)
    return caught.value.reason


async def test_a_commit_becomes_account_record_and_head_in_this_order(open_log: Open):
    log = await open_log()
    repo = Repo(1)
    entry = repo.write(POST + "a", record_of("one"))

    appended = await log.append(entry)

    account, record, head = await everything(log)
    assert isinstance(account, AccountEntry)
    assert (account.handle, account.status) == (None, "active")
    assert isinstance(record, RecordEntry)
    assert (record.uri, record.value) == (f"at://{repo.did}/{POST}a", record_of("one"))
    assert record.cid == Cid.of_cbor(record_of("one"))
    assert isinstance(head, HeadEntry)
    assert (head.rev, head.data, head.commit) == (repo.rev, repo.data, repo.commit)
    assert Cid.of_cbor(head.commit_block) == repo.commit
    assert [e.offset for e in (account, record, head)] == [e.n for e in (account, record, head)] == [1, 2, 3]
    assert (appended.offset, appended.seq, appended.records_end) == (1, 1, 3)
    assert {e.time for e in (account, record, head)} == {appended.time}


async def test_what_was_appended_reads_back_the_same_after_a_restart(open_log: Open):
    log = await open_log()
    repo = Repo(1)
    entry = repo.write(POST + "a", record_of("one"))
    gone = repo.write(POST + "a", None)
    given = [entry, gone, repo.sync_entry(), Identity(repo.did, Handle("a.test")), Account(repo.did, "deactivated")]
    given += [Moderation(repo.did, "ref"), Moderation(f"at://{repo.did}/{POST}a", None)]
    times = [(await log.append(e)).time for e in given]
    live = await everything(log), await log.read_firehose(0, 100), log.head(repo.did)

    log = await open_log()

    read = await log.read_commits(0, 0, 100)
    assert [offset for offset, _ in read] == [1, 2, 3, 4, 5, 6, 7]
    fields = [{f: getattr(e, f) for f in e.__struct_fields__ if f != "time"} for e in given]
    assert [{f: getattr(e, f) for f in e.__struct_fields__ if f != "time"} for _, e in read] == fields
    assert [e.time for _, e in read] == times
    assert live == (await everything(log), await log.read_firehose(0, 100), log.head(repo.did))


async def test_first_time_is_kept_through_updates_and_renewed_after_a_delete(open_log: Open):
    log = await open_log()
    repo = Repo(1)
    values = [record_of("one"), record_of("two"), None, record_of("three")]
    times = [(await log.append(repo.write(POST + "a", value))).time for value in values]

    found = records_of(await everything(log))

    assert [(value, first) for _, value, first in found] == list(
        zip(values, [times[0], times[0], times[0], times[3]], strict=True)
    )
    assert log.record(repo.did, POST + "a") == (Cid.of_cbor(record_of("three")), record_of("three"), times[3])


async def test_frames_are_spliced_around_a_seq_that_rises_by_one(open_log: Open):
    log = await open_log(first_seq=1000)
    repo = Repo(1)
    await log.append_many([Identity(repo.did, Handle("a.test")), Account(repo.did, "active")])
    entry = repo.write(POST + "a", record_of("one"))
    await log.append(entry)

    identity, account, commit = await log.read_firehose(0, 10)

    assert [identity.seq, account.seq, commit.seq] == [1000, 1001, 1002]
    assert commit.frame() == entry.head + b"\x19\x03\xea" + entry.tail
    header = b"\xa2at" + b"h#account" + b"bop\x01"
    assert account.frame().startswith(header)
    payload = decode(account.frame()[len(header) :])
    assert isinstance(payload, dict)
    assert (payload["did"], payload["seq"], payload["active"], "status" in payload) == (repo.did, 1001, True, False)
    assert log.firehose_bounds() == (1000, 1002, identity.time)
    assert [e.seq for e in await log.read_firehose(1000, 1)] == [1001]
    assert await log.read_firehose(5000, 10) == []


async def test_seqs_and_offsets_go_on_after_a_restart(open_log: Open):
    log = await open_log()
    repo = Repo(1)
    before = await log.append(repo.write(POST + "a", record_of("one")))

    log = await open_log()
    after = await log.append(repo.write(POST + "b", record_of("two")))

    assert (after.offset, after.seq) == (before.offset + 1, (before.seq or 0) + 1)
    assert after.time > before.time
    assert [e.offset for e in await everything(log)] == [1, 2, 3, 4, 5]


async def test_a_commit_that_does_not_continue_the_head_is_refused_and_derives_nothing(open_log: Open):
    log = await open_log()
    repo = Repo(1)
    first = repo.write(POST + "a", record_of("one"))
    await log.append(first)
    missed = repo.write(POST + "b", record_of("two"))
    end = log.records_end(0)

    assert await refused(log, first) == Reason.DUPLICATE
    assert await refused(log, repo.write(POST + "c", record_of("three"))) == Reason.PREV_DATA_MISMATCH
    await log.append(missed)
    assert await refused(log, first) == Reason.STALE_REV

    assert log.records_end(0) == end + 2
    assert [e.kind for e in await log.read_firehose(0, 10)] == ["commit", "commit"]
    assert [offset for offset, _ in await log.read_commits(0, 0, 10)] == [1, 2, 3, 4, 5]


async def test_two_writers_on_one_account_do_not_fork_it(open_log: Open):
    log = await open_log()
    ours, theirs = Repo(1, seed=1), Repo(1, seed=2)
    begin = ours.write(POST + "a", record_of("one"))
    theirs.records, theirs.rev, theirs.data, theirs.clock = dict(ours.records), ours.rev, ours.data, ours.clock
    await log.append(begin)
    forks = [r.write(POST + f"{r.random.random()}", record_of("x")) for _ in range(20) for r in (ours, theirs)]

    results = await asyncio.gather(*(log.append(entry) for entry in forks), return_exceptions=True)

    won = [entry for entry, result in zip(forks, results, strict=True) if not isinstance(result, Rejected)]
    assert len(won) >= 1
    chain = [begin, *won]
    assert all(b.prev_data == a.data and b.rev > a.rev for a, b in pairwise(chain))
    head = log.head(ours.did)
    assert head is not None
    assert head.commit == won[-1].commit
    assert len(log.paths(ours.did)) == len(chain)


async def test_an_unknown_account_in_mid_history_is_taken_as_partial(open_log: Open):
    log = await open_log()
    repo = Repo(1)
    repo.write(POST + "unseen", record_of("before"))
    entry = repo.commit_entry(repo.op(POST + "unseen", record_of("after")), repo.op(POST + "b", record_of("new")))

    appended = await log.append(entry)
    deleted = await log.append(repo.write(POST + "unseen", None))

    head = log.head(repo.did)
    assert head is not None
    assert head.partial
    assert log.paths(repo.did) == [POST + "b"]
    assert [first for *_, first in records_of(await everything(log))] == [appended.time] * 3
    assert deleted.time > appended.time


async def test_a_group_is_all_or_nothing(open_log: Open):
    log = await open_log()
    repo, stranger = Repo(1), Repo(2)
    await log.append(repo.write(POST + "a", record_of("one")))
    repo.write(POST + "b", record_of("lost"))
    before = await everything(log), log.commits_end(0), log.firehose_bounds(), log.head(repo.did)

    with pytest.raises(Rejected):
        await log.append_many(
            [
                Identity(stranger.did, Handle("s.test")),
                stranger.write(POST + "a", record_of("one")),
                Account(repo.did, "deactivated"),
                repo.write(POST + "c", record_of("refused")),
            ]
        )

    assert before == (await everything(log), log.commits_end(0), log.firehose_bounds(), log.head(repo.did))
    assert log.head(stranger.did) is None
    appended = await log.append_many([Identity(stranger.did, None), Account(stranger.did, "active")])
    assert [a.offset for a in appended] == [2, 3]


async def test_a_deletion_leaves_one_tombstone_a_record_and_the_account_can_come_back(open_log: Open):
    log = await open_log()
    repo, other = Repo(1), Repo(2)
    for key in "abc":
        await log.append(repo.write(POST + key, record_of(key)))
    await log.append(repo.write(POST + "b", None))
    await log.append(other.write(POST + "a", record_of("stays")))
    end = log.records_end(0)

    await log.append(Account(repo.did, "deleted"))

    account, *tombstones = await log.read_records(0, end, 100)
    assert isinstance(account, AccountEntry)
    assert account.status == "deleted"
    assert [(e.rkey, e.value) for e in tombstones if isinstance(e, RecordEntry)] == [("a", None), ("c", None)]
    assert (log.paths(repo.did), log.paths(other.did)) == ([], [POST + "a"])
    assert await refused(log, repo.write(POST + "d", record_of("d"))) == Reason.DELETED
    await log.append(Account(repo.did, "active"))
    old = Repo(1)
    assert await refused(log, old.write(POST + "a", record_of("old rev"))) == Reason.STALE_REV
    old.clock, old.rev, old.data, old.records = repo.clock, None, None, {}
    again = await log.append(old.write(POST + "a", record_of("a")))
    assert log.record(repo.did, POST + "a") == (Cid.of_cbor(record_of("a")), record_of("a"), again.time)


async def test_a_record_deleted_just_before_its_account_has_one_tombstone(open_log: Open):
    log = await open_log()
    repo = Repo(1)
    await log.append(repo.write(POST + "a", record_of("a")))
    end = log.records_end(0)

    await asyncio.gather(
        log.append(repo.write(POST + "b", record_of("b"))),
        log.append(repo.write(POST + "a", None)),
        log.append(Account(repo.did, "deleted")),
    )

    found = [(e.rkey, e.value is None) for e in await log.read_records(0, end, 99) if isinstance(e, RecordEntry)]
    assert found == [("b", False), ("a", True), ("b", True)]


async def test_a_takedown_lies_over_what_the_owner_set(open_log: Open):
    log = await open_log()
    name = did(1)
    for entry in (
        Account(name, "active"),
        Moderation(name, "ref"),
        Account(name, "deactivated"),
        Moderation(name, "again"),
        Moderation(name, None),
        Account(name, "active"),
    ):
        await log.append(entry)

    statuses = [e.status for e in await everything(log) if isinstance(e, AccountEntry)]
    events = [decode(e.frame()[len(b"\xa2ath#accountbop\x01") :]) for e in await log.read_firehose(0, 10)]

    assert statuses == ["active", "takendown", "takendown", "deactivated", "active"]
    assert [isinstance(e, dict) and (e["active"], e.get("status")) for e in events] == [
        (True, None),
        (False, "takendown"),
        (False, "takendown"),
        (False, "deactivated"),
        (True, None),
    ]


async def test_a_takedown_of_a_record_is_an_entry_of_its_own_and_makes_no_event(open_log: Open):
    log = await open_log()
    uri = f"at://{did(1)}/{POST}a"

    first = await log.append(Moderation(uri, "ref"))
    await log.append(Moderation(uri, None))

    assert first.seq is None
    found = await everything(log)
    assert [(e.uri, e.takedown) for e in found if isinstance(e, TakedownEntry)] == [(uri, True), (uri, False)]
    assert log.firehose_bounds() == (0, 0, 0)


async def test_a_sync_that_changes_data_makes_an_account_partial_until_a_diff_says_what_changed(open_log: Open):
    log = await open_log()
    repo = Repo(1)
    await log.append(repo.write(POST + "a", record_of("one")))
    ops = [repo.op(POST + "b", record_of("two")), repo.op(POST + "a", None)]
    sync = repo.sync_entry()
    await log.append(sync)
    partial = log.head(repo.did)
    assert partial is not None
    assert partial.partial
    again = await log.append(sync)
    chunks = repo.diff_entries(ops, chunk=10)

    await log.append(chunks[0])

    head = log.head(repo.did)
    assert head is not None
    assert (head.partial, head.rev, log.paths(repo.did)) == (False, repo.rev, [POST + "b"])
    assert again.seq == 3
    assert [e.kind for e in await log.read_firehose(0, 10)] == ["commit", "sync", "sync"]
    assert await log.append(repo.write(POST + "c", record_of("goes on")))


async def test_a_diff_is_applied_whole_at_its_last_chunk_among_entries_of_others(open_log: Open):
    log = await open_log()
    repo, other = Repo(1), Repo(2)
    chunks = repo.diff_entries([repo.op(f"{POST}{n:04}", record_of(str(n))) for n in range(25)], 10, (None, None))
    first = (await log.append(chunks[0])).offset
    for n, chunk in enumerate(chunks[1:]):
        assert log.paths(repo.did) == []
        await log.append(other.write(f"{POST}{n}", record_of("between")))
        await log.append(chunk.__class__(**{**fields(chunk), "first": first}))

    head = log.head(repo.did)
    assert head is not None
    assert (head.rev, head.data, head.partial, len(log.paths(repo.did))) == (repo.rev, repo.data, False, 25)
    assert {e.kind for e in await log.read_firehose(0, 10)} == {"commit"}
    assert await log.append(repo.write(POST + "after", record_of("goes on")))


async def test_who_reads_the_firehose_is_told_by_one_sync_where_a_diff_has_led(open_log: Open):
    log = await open_log()
    repo, other = Repo(1), Repo(2)
    await log.append(repo.write(POST + "a", record_of("before")))
    chunks = repo.diff_entries([repo.op(f"{POST}{n:04}", record_of(str(n))) for n in range(2500)], 1000, told=True)
    first = (await log.append(chunks[0])).offset
    await log.append(other.write(POST + "b", record_of("between")))
    for chunk in chunks[1:]:
        await log.append(msgspec.structs.replace(chunk, first=first))
    head = log.head(repo.did)
    assert head is not None
    await log.append(repo.write(POST + "after", record_of("goes on")))

    events = await log.read_firehose(0, 10)

    assert [(e.did, e.kind) for e in events] == [
        (repo.did, "commit"),
        (other.did, "commit"),
        (repo.did, "sync"),
        (repo.did, "commit"),
    ]
    assert [e.time for e in events] == sorted(e.time for e in events)
    said = decode_frame(events[2].frame())
    assert isinstance(said, SyncMessage)
    assert (said.did, said.rev, said.seq) == (repo.did, head.rev, 3)
    roots, blocks = read_car(said.blocks)
    assert (roots, blocks) == ([head.commit], {head.commit.raw: head.commit_block})  # type: ignore[union-attr]


async def test_a_diff_that_fills_what_was_missing_below_the_head_tells_nobody(open_log: Open):
    log = await open_log()
    repo = Repo(1)
    repo.write(POST + "a", record_of("never seen"))
    await log.append(repo.write(POST + "b", record_of("met here")))
    head = log.head(repo.did)
    assert head is not None
    assert head.partial
    assert head.commit_block is not None
    op = Op("create", POST + "a", Cid.of_cbor(record_of("never seen")), None, record_of("never seen"))
    filling = Diff(
        *(repo.did, head.rev, head.data, head.rev, head.commit, head.commit_block, head.data, 0, 1, None, (op,)),
        told=True,
    )

    await log.append(filling)

    assert not log.head(repo.did).partial  # type: ignore[union-attr]
    assert log.paths(repo.did) == [POST + "a", POST + "b"]
    assert [e.kind for e in await log.read_firehose(0, 10)] == ["commit"]


def fields(entry):
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


async def test_a_diff_whose_base_has_moved_or_whose_chunks_are_missing_changes_nothing(open_log: Open):
    log = await open_log()
    repo = Repo(1)
    await log.append(repo.write(POST + "a", record_of("one")))
    ops = [Op("create", POST + key, Cid.of_cbor(record_of(key)), None, record_of(key)) for key in "xyz"]
    branch = Repo(1, seed=9)
    branch.rev, branch.data, branch.records, branch.clock = repo.rev, repo.data, dict(repo.records), repo.clock
    zero, one, two = branch.diff_entries(ops, chunk=1)
    first = (await log.append(zero)).offset

    assert await refused(log, two.__class__(**{**fields(two), "first": first})) == Reason.DIFF_INCOMPLETE
    await log.append(one.__class__(**{**fields(one), "first": first}))
    await log.append(repo.write(POST + "b", record_of("two")))
    assert await refused(log, two.__class__(**{**fields(two), "first": first})) == Reason.BASE_MOVED
    assert await refused(log, two) == Reason.DIFF_MALFORMED

    assert log.paths(repo.did) == [POST + "a", POST + "b"]


async def test_expansions_of_thousands_hold_their_shard_and_lose_nothing(open_log: Open):
    log = await open_log(shards=2)
    repo = Repo(1)
    other = next(r for r in map(Repo, range(2, 50)) if shard(r) != shard(repo))
    same = next(r for r in map(Repo, range(2, 50)) if shard(r) == shard(repo))
    ops = [repo.op(f"{POST}{n:04}", record_of(str(n))) for n in range(3500)]
    chunks = repo.diff_entries(ops, 1500, (None, None))
    last = (await log.append_many(chunks))[-1]
    everyone = [log.append(r.write(POST + "a", record_of("a"))) for r in (same, other, repo)]
    await asyncio.gather(*everyone, log.append(Account(repo.did, "deleted")), return_exceptions=True)
    barrier = await log.append(Account(same.did, "active"))

    found = await everything(log, shard(repo), 1000)

    uris = [uri for uri, *_ in records_of(found)]
    mine = [e for e in found if e.offset <= last.records_end or getattr(e, "did", None) == repo.did]
    assert len([u for u in uris if repo.did in u]) == 2 * 3501
    assert len(mine) == len([e for e in found if getattr(e, "did", None) == repo.did])
    assert log.paths(repo.did) == []
    assert [e.offset for e in found] == list(range(1, barrier.records_end + 1))
    assert log.paths(other.did) == [POST + "a"]


def shard(repo: Repo) -> int:
    from schemas.topics import shard_of

    return shard_of(repo.did, 2)


async def test_only_the_last_of_a_group_may_expand(open_log: Open):
    log = await open_log()

    with pytest.raises(InvariantError, match="last of its group"):
        await log.append_many([Account(did(1), "deleted"), Account(did(1), "active")])


async def test_readers_are_woken_by_what_is_committed(open_log: Open):
    log = await open_log()
    woken: list[int] = []
    stop = log.changed.listen(lambda: woken.append(log.records_end(0)))
    waiting = [asyncio.create_task(log.changed.wait([0])), asyncio.create_task(log.changed.wait_firehose(0))]

    await log.append(Account(did(1), "active"))
    await asyncio.gather(*waiting)
    stop()
    stop()
    await log.append(Account(did(1), "deactivated"))
    await log.changed.wait([1])

    assert woken == [1]


async def test_another_number_of_shards_is_refused(open_log: Open):
    await open_log(shards=2)

    with pytest.raises(InvariantError, match="shards is 2, expected 3"):
        await open_log(shards=3)


async def test_truncation_keeps_what_a_consumer_or_a_clock_still_needs(open_log: Open):
    log = await open_log()
    repo = Repo(1)
    for n in range(20):
        await log.append(repo.write(POST + "a", record_of(str(n))))
    await log.append(repo.write(POST + "b", record_of("b")))
    await log.append(repo.write(POST + "b", None))
    end, hour = log.records_end(0), 3_600_000_000

    await log.truncate(commits={"pds": {0: 5}}, records={"views": {0: 10}}, now=START + hour)
    assert len(await log.read_commits(0, 0, 100)) == 22
    await log.truncate(commits={"pds": {0: 5}}, records={"views": {0: 10}}, now=START + 80 * hour)
    log = await open_log()

    assert [offset for offset, _ in await log.read_commits(0, 0, 100)] == list(range(6, 23))
    kept = await everything(log)
    assert [e.offset for e in kept] == [1, *range(9, end + 1)]
    await log.truncate(commits={}, records={}, now=START + 15 * 24 * hour)
    log = await open_log()

    assert [type(e).__name__ for e in await everything(log)] == ["AccountEntry", "RecordEntry", "HeadEntry"]
    assert log.firehose_bounds() == (0, 22, 0)
    assert log.record(repo.did, POST + "a") is not None
    after = await log.append(repo.write(POST + "c", record_of("numbers go on")))
    assert (after.offset, after.seq, after.records_end) == (23, 23, end + 2)
