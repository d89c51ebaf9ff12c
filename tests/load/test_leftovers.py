"""What a killed run leaves is taken away by the next one; what a living one has, or one of elsewhere, never is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from headrace.load import leftovers, owner
from headrace.load.leftovers import DIRECTORIES, PREFIX, drop_directories, new_cluster
from headrace.settings import Settings

PLAN = """
name = "long"
[population]
accounts = 2
follows = 1
[load]
seconds = 600
[players.p]
rate = 1
through = "relay"
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def a_dead_ones() -> str:
    """The mark of a process that has ended."""
    code = "from headrace.load.owner import mark; print(mark())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_mark_is_its_processs_own_for_as_long_as_that_lives() -> None:
    code = "from headrace.load.owner import mark; print(mark(), flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    mark = process.stdout.readline().strip()
    living = owner.is_dead(mark)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    as_zombie = owner.is_dead(mark)
    process.wait()
    process.stdin.close()
    process.stdout.close()

    assert (living, as_zombie, owner.is_dead(mark)) == (False, True, True)
    assert not owner.is_dead(owner.mark())


def test_another_process_of_the_same_id_is_not_the_one_that_made_it() -> None:
    mine = owner.mark()
    earlier = mine[:11] + "0000001" + mine[18:]

    assert owner.is_dead(earlier)


@pytest.mark.parametrize("name", ["", "x", "1a2b3c4d", "ji6c1lwz", "0" * 24, "headrace_g1"])
def test_of_what_has_no_mark_nothing_is_known(name: str) -> None:
    assert not owner.is_dead(name)


def test_a_process_that_may_not_be_looked_at_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, dead = owner.mark(), a_dead_ones()
    allowed = os.kill

    def not_ours(pid: int, signum: int) -> None:
        allowed(pid, signum)
        raise PermissionError

    monkeypatch.setattr(owner, "_started", lambda _: None)  # as /proc with hidepid answers of others' processes
    monkeypatch.setattr("os.kill", not_ours)

    assert (owner.is_dead(mine), owner.is_dead(dead)) == (False, True)


def test_what_another_machine_made_is_nobodys_to_take_away(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = a_dead_ones()
    monkeypatch.setattr(owner, "_machine", lambda: "other0")

    assert not owner.is_dead(dead)


def test_a_clusters_name_can_be_that_of_keyspaces_and_topics() -> None:
    name = new_cluster()

    assert len(name) == len(PREFIX) + owner.LENGTH
    assert Settings(cluster=name, cql_keyspace=name).cql_keyspace == name


def test_the_clusters_of_dead_runs_are_found_among_topics_and_keyspaces() -> None:
    dead, mine = f"{PREFIX}{a_dead_ones()}", new_cluster()
    names = [f"{dead}.commits", f"{dead}_g1", dead, mine, f"{mine}_g1", "load_1a2b3c4d", "headrace_g1", dead[5:]]

    assert set(leftovers._dead(names)) == {dead}


def test_directories_of_dead_runs_go_and_no_others(temporary: Path) -> None:
    dead, mine = f"{DIRECTORIES}{a_dead_ones()}-ab", f"{DIRECTORIES}{owner.mark()}-cd"
    for name in (dead, mine, f"{DIRECTORIES}ji6c1lwz", "other"):
        (temporary / name).mkdir()
        (temporary / name / "file").touch()
    elsewhere = temporary / f"{dead}-link"
    elsewhere.symlink_to(temporary / "other")

    assert drop_directories() == [str(temporary / dead)]
    assert {each.name for each in temporary.iterdir()} == {mine, f"{DIRECTORIES}ji6c1lwz", "other", elsewhere.name}
    assert (temporary / "other" / "file").exists()


def test_what_a_run_left_that_was_killed_the_next_command_takes_away(tmp_path: Path) -> None:
    plan, folder = tmp_path / "plan.toml", tmp_path / "tmp"
    plan.write_text(PLAN)
    folder.mkdir()
    there = {**os.environ, "TMPDIR": str(folder)}
    words = [sys.executable, "-m", "headrace", "load"]
    run = subprocess.Popen(
        [*words, "run", str(plan), "--out", str(tmp_path / "out")], env=there, stderr=subprocess.PIPE, text=True
    )
    assert run.stderr is not None
    try:
        said = run.stderr.readline()
        living = subprocess.run([*words, "clean", "--json"], env=there, capture_output=True, check=True)
    finally:
        run.kill()
        run.wait()
        run.stderr.close()
    (left,) = folder.iterdir()
    dead = subprocess.run([*words, "clean", "--json"], env=there, capture_output=True, check=True)

    assert "making ready what p plays" in said
    assert orjson.loads(living.stdout) == {"taken_away": []}
    assert orjson.loads(dead.stdout) == {"taken_away": [str(left)]}
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", [("--kafka", "h:1"), ("--cql", "h:1"), ("--named", "load_x")])
def test_half_a_cluster_is_no_cluster(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "load", "clean", *words], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "--kafka and --cql together" in done.stderr
