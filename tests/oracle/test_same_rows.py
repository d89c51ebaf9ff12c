"""One log, one set of views: live or rebuilt, in large batches or one by one, from one shard or four, said once or
twice and late. Digests are compared; answers are another test's.
"""

from __future__ import annotations

import random

import pytest

from processors.digest import digests
from tests.support.fast_network import TIGHT, FastNetwork, dids
from tests.support.random_network import Habits, RandomNetwork
from tests.support.staged_views import StagedViews
from views import ALL
from views.store_sqlite import SqliteStore

STEPS = 250


async def _network(directory, seed: int, shards: int) -> FastNetwork:
    directory.mkdir()
    network = await FastNetwork(directory, dids(5), shards).open()
    await network.begin()
    for step in RandomNetwork(random.Random(seed), network.dids, network.now, Habits(spoilt=3, gate=6)).steps(STEPS):
        await network.do(step)
    await network.settle()
    return network


async def _staged(network: FastNetwork, name: str, size: int, *, doubled: bool = False) -> dict[str, str]:
    store = SqliteStore(network.directory / f"{name}.sqlite", [view.table for view in ALL])
    views = await StagedViews(network.log, store, TIGHT, seed=size, doubled=doubled).open()
    await views.feed(size)
    found = digests(store, ALL)
    await store.close()
    assert bool(views.stages.marks.dropped) is doubled
    return found


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("seed", range(4))
async def test_however_a_log_is_read_it_makes_the_same_rows(directory, seed, shards):
    network = await _network(directory / "a", seed, shards)

    live = digests(network.store, ALL)
    one_by_one = await _staged(network, "one", 1)
    doubled = await _staged(network, "doubled", 5, doubled=True)
    at_once = await _staged(network, "all", 10_000)
    await network.rebuild()
    await network.runner.process_all()
    rebuilt = digests(network.store, ALL)
    await network.close()

    assert live == one_by_one
    assert live == at_once
    assert live == rebuilt
    assert live == doubled


@pytest.mark.parametrize("seed", range(4, 8))
async def test_the_number_of_shards_changes_no_row(directory, seed):
    one, four = await _network(directory / "one", seed, 1), await _network(directory / "four", seed, 4)

    found = digests(one.store, ALL), digests(four.store, ALL)
    await one.close()
    await four.close()

    assert found[0] == found[1]
