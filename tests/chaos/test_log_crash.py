"""The log's process is killed at each named point and at random; what the file holds then is compared with a model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.log_sqlite.log import SqliteLog
from schemas.crash import ENVIRONMENT
from schemas.entries import Account, Identity, RecordEntry
from tests.support.log_driver import STEP
from tests.support.log_model import Model, compare
from tests.support.log_world import Repo, record_of

pytestmark = pytest.mark.chaos
ROOT = Path(__file__).resolve().parent.parent.parent
CRASHES = [
    f"{name}:{nth}"
    for name in ("log.before_insert", "log.before_commit", "log.after_commit", "derive.mid_expansion")
    for nth in (1, 4, 11)
]


def start(path: Path, seed: int, bursts: int, crash: str = "") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.support.log_driver", str(path), str(seed), str(bursts)]
    environment = {**os.environ, ENVIRONMENT: crash}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def run(script: str, crash: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, ENVIRONMENT: crash}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False, timeout=60)


async def check(path: Path, acknowledged: list[bytes], newcomers: int) -> None:
    """Every acknowledged entry is there, groups are whole, and all that is derived follows from what is there."""
    log = await SqliteLog.open(path, step=STEP)
    there = {b"ack %d %d" % (offset, entry.time) for offset, entry in await log.read_commits(0, 0, 100_000)}
    assert set(acknowledged) <= there
    model = Model()
    await model.read(log)
    await compare(log, model, 1)
    entries = [entry for _, entry in await log.read_commits(0, 0, 100_000)]
    born = [e.did for e in entries if isinstance(e, Identity) and e.handle == "new.test"]
    assert len(born) <= newcomers
    assert all("app.bsky.actor.profile/self" in model.accounts[did].records for did in born)
    await log.close()


@pytest.mark.parametrize("crash", CRASHES)
async def test_nothing_acknowledged_is_lost_and_nothing_is_half_done_after(crash: str, tmp_path: Path) -> None:
    path, seed = tmp_path / "log.sqlite", CRASHES.index(crash) + 1
    killed = start(path, seed, 60, crash)
    out, err = killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert f"crash: {crash.partition(':')[0]}\n".encode() in err
    acknowledged = out.splitlines()

    await check(path, acknowledged, 60)

    again = start(path, seed + 100, 5)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err.decode()
    assert len(out.splitlines()) > 15
    await check(path, acknowledged + out.splitlines(), 65)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_nothing_acknowledged_is_lost_by_kills_at_random(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    acknowledged: list[bytes] = []
    for life in range(3):
        process = start(path, 10 * seed + life, 10_000)
        assert process.stdout is not None
        for _ in range(40 + 37 * seed + 11 * life):
            line = process.stdout.readline()
            assert line.startswith(b"ack"), process.communicate()
            acknowledged.append(line.rstrip(b"\n"))
        process.kill()
        out, _ = process.communicate(timeout=60)
        acknowledged += [line for line in out.split(b"\n")[:-1] if line]
        assert process.returncode == -signal.SIGKILL

        await check(path, acknowledged, 10_000)


async def test_a_deletion_killed_again_and_again_still_buries_every_record(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    seeded = start(path, 5, 1)
    assert seeded.communicate(timeout=60)[1] == b""
    log = await SqliteLog.open(path)
    repo = Repo(77)
    ops = [repo.op(f"app.bsky.feed.like/{n:05}", record_of(str(n))) for n in range(40)]
    await log.append_many(repo.diff_entries(ops, 10, (None, None)))
    await log.close()
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom ingest.log_sqlite.log import SqliteLog\n"
        "from schemas.entries import Account\nfrom schemas.syntax import Did\n"
        "async def main():\n"
        f"    log = await SqliteLog.open(Path({str(path)!r}), step={STEP})\n"
        f"    if log.head({str(repo.did)!r}).status != 'deleted':\n"
        f"        await log.append(Account(Did({str(repo.did)!r}), 'deleted'))\n"
        "    await log.close()\n"
        "asyncio.run(main())\n"
    )
    fired = 0
    for _ in range(30):
        done = run(script, "derive.mid_expansion:2")
        if done.returncode == 0:
            break
        assert done.stderr == b"crash: derive.mid_expansion\n"
        fired += 1

    assert fired >= 3
    log = await SqliteLog.open(path)
    tombstones = [
        e.rkey
        for e in await log.read_records(0, 0, 5000)
        if isinstance(e, RecordEntry) and e.did == repo.did and e.value is None
    ]
    assert tombstones == [f"{n:05}" for n in range(40)]
    assert log.paths(repo.did) == []
    deletions = [e for _, e in await log.read_commits(0, 0, 5000) if isinstance(e, Account) and e.did == repo.did]
    assert len(deletions) == 1
    await log.close()
