"""Lanes come to the rows of the one process, however batches are cut, torn, redone, doubled and overlapped."""

from __future__ import annotations

import random

import pytest

from processors.digest import digests
from schemas.topics import EDGES, FANOUT, OPERATIONS, RECORDS
from tests.oracle.compare import Comparison, Watch
from tests.support.asking import InProcess
from tests.support.fast_network import TIGHT, FastNetwork, dids
from tests.support.lane_rig import Killed, MemoryHops, Rig, Torn
from tests.support.random_network import Habits, RandomNetwork
from views import ALL
from views.complete import complete, complete_operations

SHARDS = 3
STEPS = 150
PLACES = [(topic, shard) for topic in (RECORDS, OPERATIONS, EDGES, FANOUT) for shard in range(SHARDS)]


async def network(directory, seed):
    directory.mkdir()
    made = await FastNetwork(directory, dids(5), SHARDS).open()
    await made.begin()
    habits = Habits(operate=20)
    for step in RandomNetwork(random.Random(seed), made.dids, made.now, habits).steps(STEPS):
        await made.do(step)
    await made.settle()
    return made


async def rig(made, tmp_path, dice, *, versions=True, doubled=0.0):
    found = Rig(
        Torn(tmp_path / "lanes.sqlite", versions=versions), MemoryHops(dice, doubled=doubled), SHARDS, TIGHT, dice
    )
    await found.read(made.log)
    return found


async def compared(made, lanes, dice, context):
    assert digests(lanes.store, ALL) == digests(made.store, ALL), context
    model = await made.read()
    asked = InProcess(lanes.store)
    watch = Watch()
    comparison = Comparison(model, asked, made.dids, dice, watch=watch, context=context)
    for viewer in (None, *made.dids):
        await comparison.of_viewer(viewer)


@pytest.mark.parametrize("seed", range(3))
async def test_lanes_in_any_order_make_the_rows_of_one_process(tmp_path, seed):
    made = await network(tmp_path / "a", seed)
    dice = random.Random(seed)
    lanes = await rig(made, tmp_path, dice, doubled=0.2)
    for _ in range(400):
        lane = await lanes.lane(*dice.choice(PLACES))
        await lanes.step(lane, dice.choice((1, 2, 5, 40)))
    await lanes.settle()
    await compared(made, lanes, dice, f"seed {seed}")

    progress = await lanes.store.progress()
    progress.watermarks.update(lanes.store.watermarks)
    assert complete(progress, SHARDS) == tuple(messages[-1].offset for messages in lanes.records)
    ends = tuple(messages[-1].offset if messages else 0 for messages in lanes.operations)
    assert complete_operations(progress, SHARDS) == ends
    assert any(ends)
    assert sum(lane.stage.marks.dropped.total() for lane in lanes.lanes.values() if lane.topic in (EDGES, FANOUT)) > 10
    await made.close()
    await lanes.store.close()


@pytest.mark.parametrize("seed", range(6))
async def test_workers_may_die_between_any_two_writes_and_overlap_as_zombies(tmp_path, seed):
    made = await network(tmp_path / "a", 100 + seed)
    dice = random.Random(seed)
    lanes = await rig(made, tmp_path, dice, doubled=0.05)
    await chaos(lanes, dice, 500)
    await lanes.settle(dice.choice((3, 500)))

    assert lanes.store.torn > 5
    await compared(made, lanes, dice, f"seed {seed}")
    await made.close()
    await lanes.store.close()


async def chaos(lanes, dice, steps):
    """Batches of random lanes; deaths in sends and between waves; a lane that was taken from goes on for a while."""
    zombies = []
    for _ in range(steps):
        place = dice.choice(PLACES)
        lane = await lanes.lane(*place)
        fault = dice.random()
        if fault < 0.15:
            lanes.store.tear = dice.randrange(4)
        elif fault < 0.25:
            lanes.hops.die = dice.randrange(6)
        elif fault < 0.35 and zombies:
            lane = zombies.pop(dice.randrange(len(zombies)))
        elif fault < 0.45:
            zombies = [*zombies[-5:], lanes.kill(*place)]
            continue
        try:
            await lanes.step(lane, dice.choice((1, 3, 10, 40)))
        except Killed:
            if lanes.lanes.get(place) is lane:
                lanes.kill(*place)
        lanes.store.tear = lanes.hops.die = None
