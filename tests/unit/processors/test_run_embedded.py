"""The runner follows a real log into a real store."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ingest.log_sqlite.log import SqliteLog
from processors.digest import digests
from processors.run_embedded import EmbeddedRunner, RunnerStoppedError
from schemas.cbor import encode
from schemas.entries import Account, RecordEntry
from schemas.errors import InvariantError
from schemas.tid import tid_from_micros
from tests.support.log_world import START, Repo, record_of
from views import ALL, actors, author_feed, posts
from views.store_sqlite import SqliteStore

TABLES = [view.table for view in ALL]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=[1, 4])
async def river(tmp_path, request):
    log = await SqliteLog.open(tmp_path / "log.sqlite", shards=request.param)
    store = SqliteStore(tmp_path / "views.sqlite", TABLES)
    runner = EmbeddedRunner(log, store, ALL)
    await runner.start()
    yield log, store, runner
    await runner.stop()
    await store.close()
    await log.close()


def path(number):
    return f"app.bsky.feed.post/{tid_from_micros(START + number, 0)}"


async def test_who_was_told_of_a_write_and_waits_for_it_sees_it(river):
    log, store, runner = river
    repo = Repo(1)
    told = await log.append(repo.write(path(1), record_of("hello")))

    assert await runner.reached(told.shard, told.records_end, 5.0)
    (row,) = await store.get_many(posts.TABLE, [(f"at://{repo.did}/{path(1)}",)])

    assert row is not None
    assert b"hello" in row[2]


async def test_process_all_waits_for_everything_there_was(river):
    log, store, runner = river
    repos = [Repo(number) for number in range(6)]
    for number in range(40):
        await asyncio.gather(*(log.append(repo.write(path(number), record_of("x"))) for repo in repos))
    await runner.process_all()

    assert runner.behind() == 0
    assert runner.reached_of("records") == {shard: log.records_end(shard) for shard in range(log.shards)}
    for repo in repos:
        ((count, _),) = await store.statics(author_feed.TABLE, [(repo.did, 0)])
        assert count == 40
    assert runner.batches > 1


async def test_waiting_for_what_does_not_come_ends(river):
    log, _, runner = river

    assert not await runner.reached(0, log.records_end(0) + 1, 0.01)


async def test_an_account_s_deletion_reaches_the_views(river):
    log, store, runner = river
    repo = Repo(1)
    await log.append(repo.write(path(1), record_of("hello")))
    await log.append(Account(repo.did, "deleted"))
    await runner.process_all()

    assert await store.get_many(posts.TABLE, [(f"at://{repo.did}/{path(1)}",)]) == [None]
    (actor,) = await store.get_many(actors.TABLE, [(repo.did,)])
    assert actor[2] == "deleted"


async def test_a_runner_started_again_goes_on_where_it_was(tmp_path):
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    repo = Repo(1)
    taken = []
    for number in range(3):
        store = SqliteStore(tmp_path / "views.sqlite", TABLES)
        runner = EmbeddedRunner(log, store, ALL)
        await log.append(repo.write(path(number), record_of("x")))
        await runner.start()
        await runner.process_all()
        taken.append(runner.entries)
        assert (await store.statics(author_feed.TABLE, [(repo.did, 0)]))[0][0] == number + 1
        await runner.stop()
        await store.close()
    await log.close()

    assert taken[1] == taken[2] < taken[0]


def poisoned():
    """The views, one of which fails over a post that says poison."""
    sound = posts.VIEW.rows["app.bsky.feed.post"]

    def rows(record):
        if record.value["text"] == "poison":
            raise ZeroDivisionError("a projection's own fault")
        return sound(record)

    return [
        type(view)(view.table, rows={**view.rows, "app.bsky.feed.post": rows}) if view is posts.VIEW else view
        for view in ALL
    ]


async def test_an_exception_stops_it_loudly_and_leaves_the_rows_as_they_were(tmp_path):
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    store = SqliteStore(tmp_path / "views.sqlite", TABLES)
    told = []
    runner = EmbeddedRunner(log, store, poisoned(), on_failure=told.append)
    await runner.start()
    repo = Repo(1)
    await log.append(repo.write(path(1), record_of("fine")))
    await runner.process_all()
    assert runner.ready
    await log.append(repo.write(path(2), record_of("poison")))

    with pytest.raises(RunnerStoppedError, match="ZeroDivisionError"):
        await runner.process_all()
    with pytest.raises(RunnerStoppedError):
        await runner.reached(0, 1, 0.1)

    assert not runner.ready
    assert [type(failure.__cause__) for failure in told] == [ZeroDivisionError]
    assert "headrace log skip records 0 " in str(told[0])
    ((count, _),) = await store.statics(author_feed.TABLE, [(repo.did, 0)])
    assert count == 1
    await runner.stop()
    await store.close()
    await log.close()


async def test_an_entry_that_an_operator_had_skipped_stops_nothing_and_makes_no_row(tmp_path):
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    store = SqliteStore(tmp_path / "views.sqlite", TABLES)
    repo = Repo(1)
    told = [await log.append(repo.write(path(n), record_of(said))) for n, said in enumerate(("fine", "poison", "good"))]
    (bad,) = [
        entry.offset
        for entry in await log.read_records(0, 0, 100)
        if isinstance(entry, RecordEntry) and b"poison" in entry.value
    ]
    runner = EmbeddedRunner(log, store, poisoned(), skipped={("records", 0): {bad}})
    await runner.start()

    await runner.process_all()

    assert runner.reached_of("records") == {0: told[-1].records_end}
    found = await store.get_many(posts.TABLE, [(f"at://{repo.did}/{path(n)}",) for n in range(3)])
    assert [row is not None for row in found] == [True, False, True]
    await runner.stop()
    await store.close()
    await log.close()


async def test_a_runner_that_is_held_stands_at_exactly_that_vector(river):
    log, store, runner = river
    repos = [Repo(number) for number in range(6)]
    for number in range(5):
        await asyncio.gather(*(log.append(repo.write(path(number), record_of("x"))) for repo in repos))
    await runner.process_all()
    for number in range(5, 30):
        await asyncio.gather(*(log.append(repo.write(path(number), record_of("x"))) for repo in repos))
    await runner.hold()
    here = runner.vector()
    for number in range(30, 40):
        await asyncio.gather(*(log.append(repo.write(path(number), record_of("x"))) for repo in repos))
    assert runner.vector() == here
    target = here | {
        ("records", shard): max(here["records", shard], log.records_end(shard) - 3) for shard in range(log.shards)
    }

    await runner.hold(target)
    held = (await store.progress()).vector
    await log.append(repos[0].write(path(40), record_of("more")))

    assert target != here
    assert {place: held[place] for place in target if held.get(place)} == {p: at for p, at in target.items() if at}
    assert runner.vector() == target
    runner.release()
    await runner.process_all()
    assert runner.behind() == 0


async def test_views_of_another_log_are_refused_with_the_cure(tmp_path):
    store = SqliteStore(tmp_path / "views.sqlite", TABLES)
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    runner = EmbeddedRunner(log, store, ALL)
    await runner.start()
    await log.append(Repo(1).write(path(1), record_of("x")))
    await runner.process_all()
    await runner.stop()
    await log.close()
    other = await SqliteLog.open(tmp_path / "other.sqlite")

    with pytest.raises(InvariantError, match="another log"):
        await EmbeddedRunner(other, store, ALL).start()

    await store.close()
    await other.close()


CHILD = """
    import asyncio, sys
    from pathlib import Path
    from ingest.log_sqlite.log import SqliteLog
    from processors.run_embedded import EmbeddedRunner
    from views import ALL
    from views.store_sqlite import SqliteStore

    async def main(folder):
        log = await SqliteLog.open(folder / "log.sqlite")
        store = SqliteStore(folder / "views.sqlite", [view.table for view in ALL])
        runner = EmbeddedRunner(log, store, ALL)
        await runner.start()
        await runner.process_all()

    asyncio.run(main(Path(sys.argv[1])))
"""


def run_child(folder, environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(folder)],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize(
    "point", ["views.after_index", "views.after_edges", "views.before_commit", "views.mid_commit", "views.after_commit"]
)
async def test_killed_at_any_point_the_views_come_out_the_same(tmp_path, point, nth):
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    repos = [Repo(number) for number in range(4)]
    for number in range(250):
        repo = repos[number % 4]
        subject = f"at://{repos[0].did}/{path(0)}"
        like = {"subject": {"uri": subject, "cid": "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"}}
        like = encode({"$type": "app.bsky.feed.like", "createdAt": "2024-01-01T00:00:00Z", **like})
        follow = {"$type": "app.bsky.graph.follow", "createdAt": "2024-01-01T00:00:00Z"}
        follow = encode({**follow, "subject": str(repos[(number + 1) % 4].did)})
        rkey = path(number).split("/")[1]
        await log.append(
            repo.write(*[(path(number), record_of("x")), (f"app.bsky.feed.like/{rkey}", like),
                         (f"app.bsky.graph.follow/{rkey}", follow)][number % 3])
        )  # fmt: skip
    whole = SqliteStore(tmp_path / "whole.sqlite", TABLES)
    runner = EmbeddedRunner(log, whole, ALL)
    await runner.start()
    await runner.process_all()
    await runner.stop()
    await log.close()

    killed = await asyncio.to_thread(run_child, tmp_path, {"HEADRACE_CRASH": f"{point}:{nth}"})
    fired = f"crash: {point}".encode() in killed.stderr
    again = await asyncio.to_thread(run_child, tmp_path, {})

    assert again.returncode == 0, again.stderr
    # One batch takes all of it: only what happens in every round of it can happen twice.
    assert fired == (nth == 1 or point in ("views.after_index", "views.after_edges"))
    store = SqliteStore(tmp_path / "views.sqlite", TABLES)
    assert digests(store, ALL) == digests(whole, ALL)
    await store.close()
    await whole.close()
