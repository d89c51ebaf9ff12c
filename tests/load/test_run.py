"""Whole runs against a real target: they pass, they fail with an exit code, and they end when the target dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import orjson
import psutil
import pytest

from headrace.load.archive.blocks import Kind
from headrace.load.archive.reader import Archive
from headrace.load.archive.writer import DOCUMENTS, ArchiveWriter
from headrace.load.plan_file import SHIPPED, parse
from headrace.load.progress import Progress
from headrace.load.result import Result, read
from headrace.load.run import Run
from headrace.load.synthesis.pool import synthesise
from headrace.load.synthesis.steps import Population
from headrace.lock import RESTORING
from tests.support.network import Network

PLAN = """
name = "small"
seed = 5

[population]
accounts = 8
follows = 3
posts = 2
likes = 2

[load]
seconds = 4
in_flight = 64

[readers.all]
rate = 20
mix = { getTimeline = 2, getAuthorFeed = 1, getProfile = 1, getPostThread = 1, getPosts = 1 }

[writers.people]
rate = 10

[sessions]
rate = 2
think = 0.1

[checks]
every = 0.5
within = 30
"""


def load(folder: Path, text: str, *more: str) -> subprocess.CompletedProcess[str]:
    """`headrace load run` of a plan; its directory is `folder/out`."""
    (folder / "plan.toml").write_text(text)
    return run_command("load", "run", str(folder / "plan.toml"), "--out", str(folder / "out"), "--json", *more)


def run_command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace", *words], capture_output=True, text=True, check=False, timeout=200
    )


def test_a_run_passes_leaves_its_report_and_nothing_else(tmp_path) -> None:
    before = {each.pid for each in psutil.process_iter()}
    done = load(tmp_path, PLAN)

    assert done.returncode == 0, done.stderr
    said = orjson.loads(done.stdout)
    assert said["passed"] is True
    result = read(tmp_path / "out")
    names = {each.name for each in result.operations}
    assert names >= {"getTimeline", "getAuthorFeed", "getProfile", "createRecord", "write_to_timeline"}
    assert set(result.checks.made) >= {
        *("pages of a timeline do not overlap", "counts of a post are what was done to it"),
        "a post is in its followers' timelines once",
    }
    assert result.checks.failed == {}
    assert result.checks.made["a post is in its followers' timelines once"] >= 3
    assert {each.name for each in result.processes} == {"target", "client 1"}
    assert result.lags
    assert result.settled_seconds is not None
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"report.html", "result.json", "getTimeline.hgrm"}
    secret = (tmp_path / "out" / "result.json").read_text() + (tmp_path / "out" / "report.html").read_text()
    assert "eyJ" not in secret  # no token
    left = [each for each in psutil.process_iter() if each.pid not in before and "headrace" in _command(each)]
    assert [each for each in left if "client_process" in _command(each) or str(tmp_path) in _command(each)] == []


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_the_shipped_plans_hold_in_short(tmp_path, name) -> None:
    done = run_command("load", "run", name, "--short", "--out", str(tmp_path), "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    result = read(tmp_path)
    assert result.short
    assert sum(result.checks.made.values()) > 0 or name == "migration-wave"


def test_a_player_that_is_a_relay_is_read_verified_and_taken_in_whole(tmp_path) -> None:
    text = """
name = "relayed"
[population]
accounts = 4
follows = 2
[load]
seconds = 5
settle = 120
timeout = 60
[players.upstream]
rate = 40
accounts = 15
through = "relay"
[readers.all]
rate = 5
"""
    done = load(tmp_path, text)

    assert done.returncode == 0, done.stdout + done.stderr
    (player,) = read(tmp_path / "out").players
    assert (player.accepted, player.refused, player.error) == (player.sent, 0, "")
    assert player.sent == 200


def test_players_at_once_have_each_their_own_tempo(tmp_path) -> None:
    for seed, name in ((31, "a"), (32, "b")):
        with ArchiveWriter(tmp_path / name, source="test") as writer:
            synthesise(Population(seed=seed, accounts=8, events=60), writer)
    text = f"""
name = "together"
[population]
accounts = 2
follows = 1
[load]
seconds = 4
settle = 120
timeout = 60
[players.flatout]
archive = "{tmp_path / "a"}"
[players.recorded]
archive = "{tmp_path / "b"}"
times = 200000
through = "relay"
[players.bursts]
rate = 10
accounts = 5
ramp = 2
bursts = {{ every = 2, seconds = 1, times = 3, first = 2 }}
"""
    done = load(tmp_path, text)

    assert done.returncode == 0, done.stdout + done.stderr
    players = {each.name: each for each in read(tmp_path / "out").players}
    assert {(each.accepted - each.sent, each.refused, each.error) for each in players.values()} == {(0, 0, "")}
    sent = {
        name: sum(1 for _ in Archive(tmp_path / path).items()) for name, path in (("flatout", "a"), ("recorded", "b"))
    }
    assert {name: players[name].sent for name in sent} == sent
    # Half of two seconds of ramp, a second of three times as many, and one as the rate says.
    assert players["bursts"].sent == pytest.approx(50, abs=2)


def test_a_player_that_is_a_host_is_crawled_and_its_accounts_need_no_operations(tmp_path) -> None:
    with ArchiveWriter(tmp_path / "a", source="test") as writer:
        synthesise(Population(seed=33, accounts=8, events=60), writer)
    with ArchiveWriter(tmp_path / "b", source="test") as writer:
        for item in Archive(tmp_path / "a").items():
            writer.frame(item)
        for item in Archive(tmp_path / "a").items(holds=DOCUMENTS):
            if item.kind == Kind.DOCUMENT:
                writer.document(item)
    text = f"""
name = "crawled"
[population]
accounts = 3
follows = 1
[load]
seconds = 4
settle = 120
timeout = 60
[players.recorded]
archive = "{tmp_path / "b"}"
through = "host"
[players.made]
rate = 20
accounts = 6
through = "host"
[readers.all]
rate = 5
"""
    done = load(tmp_path, text)

    assert done.returncode == 0, done.stdout + done.stderr
    players = {each.name: each for each in read(tmp_path / "out").players}
    assert {(each.accepted - each.sent, each.refused, each.error) for each in players.values()} == {(0, 0, "")}
    frames = sum(1 for _ in Archive(tmp_path / "b").items())
    assert {name: each.sent for name, each in players.items()} == {"recorded": frames, "made": 80}


@pytest.mark.parametrize(
    ("through", "words"), [("relay", "holds no did:plc operations"), ("host", "holds no DID documents")]
)
def test_an_archive_whose_accounts_nobody_knows_is_refused(tmp_path, through, words) -> None:
    with ArchiveWriter(tmp_path / "a", source="test") as writer:
        synthesise(Population(seed=1, accounts=2, events=5), writer)
    for path in (tmp_path / "a").glob("*.documents*"):
        path.unlink()
    player = f'[players.p]\nrate = 5\nthrough = "{through}"\narchive = "{tmp_path / "a"}"\n'
    text = f'name = "x"\n{player}[population]\naccounts = 2\n'

    done = load(tmp_path, text)

    assert done.returncode == 1
    assert words in done.stderr
    assert "--re-sign" in done.stderr


def test_a_criterion_that_fails_is_the_exit_code(tmp_path) -> None:
    criterion = '[[criteria]]\nmeasure = "requests_rate"\nat_least = 100000\n'

    done = load(tmp_path, 'name = "x"\n[load]\nseconds = 2\n[readers.a]\nrate = 5\n' + criterion)

    assert done.returncode == 1, done.stderr
    said = orjson.loads(done.stdout)
    assert said["passed"] is False
    assert said["criteria"][0].startswith("FAIL: requests_rate at least 100000, found ")
    assert "FAILED" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        ('name = "x"\n[reader]\n', (), "plan.toml:2: no key 'reader'; nearest is 'readers'"),
        ('name = "x"\n[readers.a]\nrate = 1\n', ("--target", "http://192.0.2.7"), "name it twice"),
        ('name = "x"\n[readers.a]\nrate = 1\n', ("--process", "a=b"), "expected NAME=PID"),
        ('name = "x"\n[players.a]\nrate = 1\n', ("--target", "http://127.0.0.1:1"), "players need a target"),
    ],
)
def test_what_cannot_be_run_is_wrong_usage(tmp_path, text, more, words) -> None:
    done = load(tmp_path, text, *more)

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_target_that_is_not_there_is_said(tmp_path) -> None:
    done = load(tmp_path, 'name = "x"\n[readers.a]\nrate = 1\n', "--target", "http://127.0.0.1:1")

    assert (done.returncode, done.stdout) == (1, "")
    assert "createAccount was answered connect" in done.stderr


@pytest.mark.parametrize("words", [("run", "seed-2024", "--short"), ("clean",)], ids=["run", "clean"])
def test_a_broker_that_is_not_there_is_said_before_a_cluster_is_started(tmp_path, words) -> None:
    out = ("--out", str(tmp_path)) if "run" in words else ()
    done = run_command("load", *words, "--kafka", "127.0.0.1:1", "--cql", "127.0.0.1:1", *out)

    assert (done.returncode, done.stdout) == (1, "")
    assert "expected a Kafka broker at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert "did not get ready" not in done.stderr


def test_a_server_that_is_there_can_be_loaded(tmp_path) -> None:
    network = Network(tmp_path / "data", settings={"rate_limit_scale": "1000"}).start()
    try:
        text = PLAN + f'\n[target]\nops = "{network.ops_url}"\n'
        done = load(tmp_path, text, "--target", network.url, "--process", f"theirs={network.pid}")
    finally:
        network.stop()

    assert done.returncode == 0, done.stdout + done.stderr
    result = read(tmp_path / "out")
    assert result.target == network.url.rstrip("/")
    assert {each.name for each in result.processes} == {"theirs", "client 1"}
    assert result.settled_seconds is not None


async def test_a_target_that_dies_is_counted_and_the_run_ends_with_its_report(tmp_path) -> None:
    few = "[population]\naccounts = 2\n"
    found = await _dying(tmp_path, f'name = "x"\n{few}[load]\nseconds = 600\n[readers.a]\nrate = 20\n')

    assert [(event.what, event.planned) for event in found.events] == [("target ended by itself", False)]
    assert found.seconds < 300
    assert not found.passed
    kinds = {kind for each in found.operations for kind in each.kinds}
    assert kinds & {"connect", "cut", "reset"}
    assert any("ended early" in note for note in found.notes)


async def test_a_target_that_does_not_start_again_ends_the_run_with_its_report(tmp_path) -> None:
    faults = "".join(f'[[faults]]\nat = {at}\ndo = "{do}"\n' for at, do in ((2, "kill"), (3, "restart")))
    few = "[population]\naccounts = 2\n"
    text = f'name = "x"\n{few}[load]\nseconds = 600\n[readers.a]\nrate = 20\n{faults}'
    run = Run(parse(text, "p"), "", tmp_path, Progress("x"), asyncio.Event())
    running = asyncio.create_task(run.result())
    try:
        async with asyncio.timeout(280):
            while not (tmp_path / "target" / "data" / "running.json").exists():
                assert not running.done(), running.exception()
                await asyncio.sleep(0.1)
            (tmp_path / "target" / "data" / RESTORING).touch()  # no start takes such a directory
            found = await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    assert [(event.what, event.planned) for event in found.events] == [
        ("target was sent SIGKILL", True),
        ("target was not started again", False),
    ]
    assert found.seconds < 300
    assert any("half of a backup" in note for note in found.notes)
    assert any("ended early" in note for note in found.notes)


async def _dying(folder: Path, text: str) -> Result:
    """A run whose target is killed by somebody else once it has answered."""
    run = Run(parse(text, "p"), "", folder, Progress("x"), asyncio.Event())
    running = asyncio.create_task(run.result())
    try:
        async with asyncio.timeout(120):
            while not run.series.judged.get("getTimeline"):
                assert not running.done(), running.exception()
                await asyncio.sleep(0.1)
            os.kill(run._target.pids["target"], signal.SIGKILL)
            return await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


async def test_what_never_shows_is_wrong_and_what_came_late_is_not() -> None:
    from headrace.load.final import SHOWN, look_again
    from headrace.load.null_server import NullServer
    from headrace.load.series import Series
    from headrace.load.world import Account, World

    server = NullServer(b'{"feed":[{"post":{"uri":"late"}},{"post":{"uri":"twice"}},{"post":{"uri":"twice"}}]}')
    await server.start()
    series = Series(0, 10)
    world = World("t", [Account("did:plc:a", "a.test", "token")], [[]], [], {}, [])
    try:
        await look_again(server.url, world, [("late", 0), ("lost", 0), ("twice", 0)], series)
    finally:
        await server.close()

    assert (series.made[SHOWN], series.failed[SHOWN]) == (3, 2)
    assert ["lost is there 0 times" in each for each in series.details] == [True, False]
    assert "twice is there 2 times" in series.details[1]


@pytest.mark.parametrize(
    ("likes", "wrong"), [(2, 1), (3, 0), (4, 0), (5, 1)], ids=["too few", "at least", "at most", "too many"]
)
async def test_counts_outside_of_what_was_done_are_wrong(likes, wrong, monkeypatch) -> None:
    from headrace.load import final
    from headrace.load.null_server import NullServer
    from headrace.load.series import Series
    from headrace.load.world import Account, World

    monkeypatch.setattr(final, "_TRIES", 1)
    body = b'{"posts":[{"uri":"u","likeCount":%d,"repostCount":0,"replyCount":0}]}' % likes
    server = NullServer(body)
    await server.start()
    series = Series(0, 10)
    world = World("t", [Account("did:plc:a", "a.test", "token")], [[]], [], {"u": 1}, [])
    try:
        await final.compare_counts(server.url, world, {("like", "u"): (2, 3)}, 10, series)
    finally:
        await server.close()

    assert (series.made[final.WHAT], series.failed[final.WHAT]) == (3, wrong)


@pytest.mark.parametrize(
    ("text", "begun"),
    [
        ("[population]\naccounts = 100000\n", "target/data/running.json"),
        ("[population]\naccounts = 2\n[players.p]\nrate = 100000\n", "archive-p/*.frames"),
    ],
    ids=["the population is made", "an archive is made"],
)
def test_a_run_that_is_stopped_early_ends_at_once_and_leaves_nothing(tmp_path, text, begun) -> None:
    (tmp_path / "plan.toml").write_text(f'name = "x"\n{text}[load]\nseconds = 600\n[readers.a]\nrate = 5\n')
    words = ("load", "run", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "out"))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-m", "headrace", *words], stderr=subprocess.PIPE, env=environment) as run:
        try:
            until = time.monotonic() + 100
            while not list(tmp_path.glob(f"headrace-load-*/{begun}")):
                assert run.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
            own = psutil.Process(run.pid).children(recursive=True)
            run.send_signal(signal.SIGINT)
            _, said = run.communicate(timeout=100)
        finally:
            run.kill()

    assert run.returncode == 1
    assert b"stopped before the load began" in said
    assert own
    assert psutil.wait_procs(own, 60)[1] == []
    assert list(tmp_path.glob("headrace-load-*")) == []
