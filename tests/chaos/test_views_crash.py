"""Log and views on one disk, the process killed between any two of their writes: afterwards all is as if it had not.

A twin that never dies says what must be there: after the steps that were acknowledged, or with the one that was on its
way, whole. The survivor then goes on, and in the end its rows are the twin's.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import pytest

from processors.digest import digests
from schemas.crash import ENVIRONMENT
from tests.conftest import ROOT
from tests.support import crash_child
from tests.support.fast_network import FastNetwork, dids
from views import ALL

STEPS = 120
POINTS = (
    "log.before_insert",
    "log.before_commit",
    "log.after_commit",
    "derive.mid_expansion",
    "views.after_index",
    "views.after_edges",
    "views.before_commit",
    "views.mid_commit",
    "views.after_commit",
)


@pytest.mark.chaos
@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_at_any_point_loses_and_doubles_nothing(tmp_path, directory, point, shards):
    seed = POINTS.index(point)
    # How many batches the views take depends on the machine; how many the log takes hardly does.
    nth = {"derive": 1, "views": 2 + seed % 3, "log": 8 + 5 * seed}[point.partition(".")[0]]
    acknowledged = _die(tmp_path, seed, shards, {ENVIRONMENT: f"{point}:{nth}"}, f"crash: {point}")

    await _goes_on_as_if_nothing_had_been(tmp_path, directory, seed, shards, acknowledged)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(20, 24))
async def test_a_kill_at_any_moment_loses_and_doubles_nothing(tmp_path, directory, seed):
    after = random.Random(seed).randrange(STEPS)
    acknowledged = _die(tmp_path, seed, 1, {}, "", kill_after=after)

    await _goes_on_as_if_nothing_had_been(tmp_path, directory, seed, 1, acknowledged)


def _die(directory, seed: int, shards: int, environment: dict[str, str], said: str, *, kill_after: int = -1) -> int:
    """How many steps were acknowledged before the process died, as it had to."""
    arguments = [sys.executable, "-m", "tests.support.crash_child", str(directory), str(seed), str(STEPS), str(shards)]
    child = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment}, cwd=ROOT
    )
    acknowledged = -1
    for line in child.stdout:
        assert line != b"done\n", "the process was to die and did not"
        acknowledged = int(line.split()[1])
        if acknowledged == kill_after:
            child.kill()
    errors = child.stderr.read().decode()
    child.stdout.close()
    child.stderr.close()
    assert child.wait(30) == -signal.SIGKILL, errors
    assert said in errors
    return acknowledged + 1


async def _goes_on_as_if_nothing_had_been(tmp_path, directory, seed: int, shards: int, acknowledged: int) -> None:
    twin = await FastNetwork(directory, dids(crash_child.ACTORS), shards).open()
    survivor = await FastNetwork(tmp_path, twin.dids, shards).open()
    await twin.begin()
    steps = crash_child.steps(seed, STEPS, twin)
    found = _state(await survivor.settle())
    for _ in range(acknowledged):
        await twin.do(next(steps))
    states = [_state(await twin.read())]
    if states[0] != found:
        await twin.do(next(steps))
        states.append(_state(await twin.read()))
    assert found in states

    for step in steps:
        await _both(twin, survivor, step)
    await twin.settle()
    await survivor.settle()
    said, expected = digests(survivor.store, ALL), digests(twin.store, ALL)
    await survivor.close()
    await twin.close()

    assert said == expected


async def _both(twin: FastNetwork, survivor: FastNetwork, step) -> None:
    """One commit for both logs: the repo is one."""
    entries: list = []
    keep, twin._append = twin._append, lambda made: _take(entries, made)
    await twin.do(step)
    twin._append = keep
    survivor.clock = twin.clock
    for made in entries:
        await twin._append(made)
        await survivor._append(made)


async def _take(entries: list, made) -> None:
    entries.append(made)


def _state(model) -> dict:
    records = {uri: (record.cid, record.first_time) for uri, record in model.records.items()}
    accounts = {did: (account.state, account.handle, account.rev) for did, account in model.accounts.items()}
    return {"records": records, "accounts": accounts, "takedowns": set(model.takedowns)}
