"""Small parts of the log: the tail in memory, the commit's block in a frame, topics, crash points, a failing disk."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.commit_block import find_commit_block
from ingest.log_sqlite import checkpoint as log_sqlite_checkpoint
from ingest.log_sqlite.log import LogStoppedError, SqliteLog
from ingest.log_tail import Tail
from schemas import crash, topics
from schemas.cid import Cid
from schemas.entries import Account
from schemas.errors import InvariantError
from tests.support.log_world import Repo, did, record_of, section

ROOT = Path(__file__).resolve().parent.parent.parent.parent


@given(sizes=st.lists(st.integers(1, 40), max_size=60), after=st.integers(0, 80), limit=st.integers(1, 9))
def test_a_tail_is_the_end_of_the_sequence_and_bounded(sizes, after, limit):
    tail: Tail[int] = Tail(10, max_entries=8, max_bytes=100)
    for number, size in enumerate(sizes):
        tail.push(11 + number, size)

    found = tail.read(after, limit)

    whole = list(range(11, 11 + len(sizes)))
    if after < tail.start:
        assert found is None
    else:
        assert found == [n for n in whole if n > after][:limit]
    assert 10 + len(sizes) - tail.start <= 16
    kept = sizes[tail.start - 10 :]
    assert sum(kept) <= 200


@given(prefix=st.binary(max_size=300), block=st.binary(min_size=1, max_size=20_000), suffix=st.binary(max_size=300))
def test_a_commits_block_is_found_by_its_hash_wherever_it_stands(prefix, block, suffix):
    cid = Cid.of_cbor(block)

    assert find_commit_block(prefix + cid.raw + section(cid, block) + suffix + cid.raw, cid) == block


def test_a_frame_without_its_commits_block_is_our_fault():
    cid = Cid.of_cbor(b"block")

    with pytest.raises(InvariantError, match="without the block"):
        find_commit_block(b"frame" + cid.raw + b"other", cid)


def test_the_shard_of_an_account_is_xxh64_of_its_did():
    """Published values of XXH64 with seed 0."""
    assert topics.shard_of("", 1 << 64) == 0xEF46DB3751D8E999
    assert topics.shard_of("a", 1 << 32) == 0xA98C6E5B
    assert topics.shard_of("a", 1) == 0


def test_a_hop_belongs_to_a_generation():
    assert topics.hop(topics.EDGES, "g1") == "edges.g1"


@pytest.mark.parametrize("setting", ["log.befor_commit:1", "log.before_commit:x", ":"])
def test_a_misspelt_crash_is_refused(setting):
    with pytest.raises(InvariantError, match="expected name:nth"):
        crash.arm(setting)
    crash.arm(None)


def test_an_armed_process_dies_at_the_nth_pass_and_says_so():
    script = (
        "from schemas.crash import point\n"
        "for n in range(9):\n    print(n, flush=True)\n    point('log.after_commit')\n    point('log.before_commit')\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={crash.ENVIRONMENT: "log.before_commit:3"},
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (-9, b"0\n1\n2\n", b"crash: log.before_commit\n")


async def test_a_full_disk_stops_the_log_and_loses_nothing_acknowledged(tmp_path: Path):
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    repo = Repo(1)
    first = await log.append(repo.write("app.bsky.feed.post/a", record_of("one")))
    pages = log._con.execute("PRAGMA page_count").fetchall()[0][0]
    log._con.execute(f"PRAGMA max_page_count={pages}")

    big = repo.write("app.bsky.feed.post/b", record_of("x" * 200_000))
    results = await asyncio.gather(log.append(big), return_exceptions=True)

    assert isinstance(results[0], LogStoppedError)
    assert results[0].outcome == "unknown"
    with pytest.raises(LogStoppedError) as later:
        await log.append(Account(repo.did, "active"))
    assert later.value.outcome == "absent"
    assert "full" in str(await log.stopped())
    head = log.head(repo.did)
    assert head is not None
    assert head.commit != repo.commit
    await log.close()

    log = await SqliteLog.open(tmp_path / "log.sqlite")
    assert [offset for offset, _ in await log.read_commits(0, 0, 9)] == [first.offset]
    assert (await log.append(big)).offset == first.offset + 1
    await log.close()


async def test_every_commit_is_fsynced(tmp_path: Path):
    log = await SqliteLog.open(tmp_path / "log.sqlite")

    assert log._con.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    assert log._con.execute("PRAGMA synchronous").fetchall() == [(2,)]
    await log.close()


async def test_truncation_leaves_what_a_half_done_diff_still_reads(tmp_path: Path):
    log = await SqliteLog.open(tmp_path / "log.sqlite", step=3)
    repo = Repo(1)
    ops = [repo.op(f"app.bsky.feed.post/{n:03}", record_of(str(n))) for n in range(60)]
    importing = asyncio.create_task(log.append_many(repo.diff_entries(ops, 4, (None, None))))
    await log.changed.next()

    await log.truncate(commits={}, records={"views": {}}, now=2**52)
    cut_within = not importing.done()
    await importing

    assert cut_within
    assert len(log.paths(repo.did)) == 60
    await log.truncate(commits={}, records={}, now=2**52)
    assert await log.read_commits(0, 0, 99) == []
    await log.close()


async def test_log_time_rises_when_the_clock_does_not_and_all_was_truncated(tmp_path: Path):
    log = await SqliteLog.open(tmp_path / "log.sqlite", now=lambda: 5_000_000)
    before = [await log.append(Account(did(n), "active")) for n in range(3)]
    await log.truncate(commits={}, records={}, now=2**52)
    await log.close()

    log = await SqliteLog.open(tmp_path / "log.sqlite", now=lambda: 1)
    after = await log.append(Account(did(1), "active"))

    assert [a.time for a in before] == [5_000_000, 5_000_001, 5_000_002]
    assert (after.time, after.offset, after.seq) == (5_000_003, 4, 4)
    await log.close()


async def test_a_half_done_deletion_holds_its_own_shard_only(tmp_path: Path):
    log = await SqliteLog.open(tmp_path / "log.sqlite", shards=2, step=3)
    shards = {n: topics.shard_of(did(n), 2) for n in range(1, 50)}
    repo = Repo(1)
    same = Repo(next(n for n in shards if n > 1 and shards[n] == shards[1]))
    other = Repo(next(n for n in shards if shards[n] != shards[1]))
    ops = [repo.op(f"app.bsky.feed.post/{n:03}", record_of(str(n))) for n in range(90)]
    await log.append_many(repo.diff_entries(ops, 100, (None, None)))
    end = log.records_end(shards[1])

    deleting = asyncio.create_task(log.append(Account(repo.did, "deleted")))
    await log.changed.next()
    waiting = asyncio.create_task(log.append(same.write("app.bsky.feed.post/a", record_of("a"))))
    await log.append(other.write("app.bsky.feed.post/a", record_of("a")))
    in_between = (deleting.done(), waiting.done())
    deleted, waited = await deleting, await waiting

    assert in_between == (False, False)
    assert deleted.records_end == end + 91
    assert waited.records_end == end + 94
    assert {e.did for e in await log.read_records(shards[1], end, 91)} == {repo.did}
    await log.close()


async def test_a_cancelled_appender_does_not_take_its_entry_back(tmp_path: Path):
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    task = asyncio.create_task(log.append(Account(did(1), "active")))
    await asyncio.sleep(0)
    task.cancel()
    after = await log.append(Account(did(2), "active"))

    assert task.cancelled()
    assert [e.did for _, e in await log.read_commits(0, 0, 9) if isinstance(e, Account)] == [did(1), did(2)]
    assert after.offset == 2
    await log.close()


async def test_closing_writes_what_waits(tmp_path: Path):
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    waiting = [asyncio.create_task(log.append(Account(did(n), "active"))) for n in range(50)]
    await asyncio.sleep(0)
    await log.close()

    assert sorted(a.offset for a in await asyncio.gather(*waiting)) == list(range(1, 51))


async def test_the_write_ahead_log_is_moved_beside_the_writer_and_starts_again(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(log_sqlite_checkpoint, "PAGES", 50)
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    repos = [Repo(n, filler=3000) for n in range(40)]
    for n in range(20):
        await asyncio.gather(*(log.append(r.write(f"app.bsky.feed.post/{n}", record_of("x" * 900))) for r in repos))
    size = (tmp_path / "log.sqlite-wal").stat().st_size
    whole = (tmp_path / "log.sqlite").stat().st_size

    assert whole > 1_000_000
    assert size < whole
    assert len(await log.read_commits(0, 0, 5000)) == 800
    await log.close()
    assert not (tmp_path / "log.sqlite-wal").exists()
