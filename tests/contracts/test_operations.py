"""The contract of `ingest.log.Operator` and `OperationsReader` of a log in one process: private, durable, last wins."""

from __future__ import annotations

import asyncio

import pytest

from ingest.log_sqlite.log import SqliteLog
from schemas.entries import Account
from schemas.operations import BOOKMARK, MUTE, Operation
from schemas.topics import shard_of
from tests.support.log_world import START, Repo, did, record_of

DAY = 24 * 3_600_000_000


def mute(owner: int, subject: int, value: bytes | None = b"\0") -> Operation:
    return Operation(did(owner), MUTE, did(subject), value)


@pytest.fixture(params=[1, 4])
def shards(request):
    return request.param


@pytest.fixture
async def open_log(tmp_path, shards):
    last: list[SqliteLog] = []
    clock = [START]

    def now() -> int:
        clock[0] += 1000
        return clock[0]

    async def open_again(**options) -> SqliteLog:
        if last:
            await last.pop().close()
        last.append(await SqliteLog.open(tmp_path / "log.sqlite", shards=shards, now=now, **options))
        return last[0]

    yield open_again
    await last.pop().close()


async def values(log: SqliteLog) -> dict[tuple[str, str, str], bytes | None]:
    return {(e.did, e.kind, e.subject): e.value for e in await everything(log)}


async def everything(log: SqliteLog) -> list[Operation]:
    return [entry for shard in range(log.shards) for entry in await log.read_operations(shard, 0, 10_000)]


async def test_an_operation_is_read_in_its_owners_shard_at_the_place_that_was_told(open_log, shards):
    log = await open_log()

    told = await log.operate(mute(1, 2))

    (entry,) = await log.read_operations(told.shard, told.offset - 1, 10)
    assert told.shard == shard_of(did(1), shards)
    assert (told.offset, log.operations_end(told.shard)) == (1, 1)
    assert entry == Operation(did(1), MUTE, did(2), b"\0", told.time, told.offset)
    assert [log.records_end(shard) for shard in range(shards)] == [0] * shards


async def test_of_a_key_the_last_value_is_left_and_offsets_rise(open_log):
    log = await open_log()
    told = [await log.operate(mute(1, 2, value)) for value in (b"\0", b"\1", None, b"\2")]
    other = await log.operate(Operation(did(1), BOOKMARK, "at://x/y/z", b"cid"))

    log = await open_log()

    assert [each.offset for each in told] == [1, 2, 3, 4]
    assert [(e.kind, e.value, e.offset) for e in await everything(log)] == [(MUTE, b"\2", 4), (BOOKMARK, b"cid", 5)]
    again = await log.operate(mute(1, 3))
    assert again.offset == other.offset + 1
    assert again.time > other.time


async def test_many_at_once_share_commits_with_writes_and_each_is_there(open_log):
    commits: list[int] = []
    log = await open_log(committed=lambda entries, _seconds: commits.append(entries))
    repos = [Repo(number) for number in range(5)]

    await asyncio.gather(
        *(log.operate(mute(owner, subject)) for owner in range(5) for subject in range(10, 14)),
        *(log.append(repo.write("app.bsky.feed.post/a", record_of("x"))) for repo in repos),
    )

    assert len(await everything(log)) == 20
    assert sum(commits) == 25
    assert len(commits) < 25


async def test_who_waits_for_changes_is_woken_by_an_operation(open_log, shards):
    log = await open_log()
    waiting = asyncio.ensure_future(log.changed.wait([0] * shards, [0] * shards))
    deaf = asyncio.ensure_future(log.changed.wait([0] * shards))
    await log.operate(mute(1, 2))

    async with asyncio.timeout(5):
        await waiting

    assert not deaf.done()
    deaf.cancel()


@pytest.mark.parametrize("step", [3, 1000])
async def test_the_deletion_of_an_account_removes_what_it_has_set_and_nothing_of_others(open_log, step):
    log = await open_log(step=step)
    await log.append(Repo(1).write("app.bsky.feed.post/a", record_of("x")))
    for subject in range(10, 20):
        await log.operate(mute(1, subject))
        await log.operate(mute(2, subject))
    await log.operate(mute(1, 10, None))
    await log.operate(mute(2, 1))

    deleted = log.append(Account(did(1), "deleted"))
    late = log.operate(mute(2, 30))
    await asyncio.gather(deleted, late)

    left = await values(log)
    assert {subject for (owner, _, subject), value in left.items() if owner == did(1) and value is not None} == set()
    assert {subject for (owner, _, subject), value in left.items() if owner == did(2) and value is not None} == {
        *(did(subject) for subject in range(10, 20)),
        did(1),
        did(30),
    }
    assert len([owner for owner, _, _ in left if owner == did(1)]) == 10  # removals, for views that have seen more


async def test_removals_go_after_14_days_behind_every_consumer_and_numbers_go_on(open_log):
    log = await open_log()
    shard = shard_of(did(1), log.shards)
    for subject in range(10, 16):
        await log.operate(mute(1, subject))
        await log.operate(mute(1, subject, None))
    end = log.operations_end(shard)

    async def cut(reached: int, days: int) -> int:
        progress = {"views": dict.fromkeys(range(log.shards), reached)}
        await log.truncate(commits={}, records={}, operations=progress, now=START + days * DAY)
        return len(await log.read_operations(shard, 0, 100))

    assert await cut(end, 13) == 6
    assert await cut(4, 15) == 4
    assert await cut(end, 15) == 1
    log = await open_log()
    assert log.operations_end(shard) == end
    assert (await log.operate(mute(1, 20))).offset == end + 1


async def test_a_log_of_before_there_were_operations_takes_them(open_log):
    log = await open_log()
    await log.append(Repo(1).write("app.bsky.feed.post/a", record_of("x")))
    log._con.execute("DROP TABLE operations")

    log = await open_log()

    assert (await log.operate(mute(1, 2))).offset == 1
