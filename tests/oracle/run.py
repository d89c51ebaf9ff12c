"""One random network from its seed, compared with the model at random moments and at the end.

Tests and the soak run it. A seed also decides shards, settings, how many accounts, and when the views are rebuilt.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from processors.digest import digests
from tests.oracle.compare import Comparison, Watch
from tests.support.asking import InProcess
from tests.support.fast_network import TIGHT, FastNetwork, dids
from tests.support.random_network import Habits, RandomNetwork
from tests.support.staged_views import StagedViews
from views import ALL
from views.store_sqlite import SqliteStore
from views.view import FanoutSettings

SETTINGS = (
    TIGHT,
    FanoutSettings(pull_above=1, backfill=1, keep=2, trim_every=1),
    FanoutSettings(pull_above=3, backfill=4, keep=4, trim_every=3),
    FanoutSettings(),
)
HABITS = (
    Habits(spoilt=3, gate=8),
    Habits(shared=True, named=6, gate=3),
    # A quarrelsome place; one where people come and go; one of friends who talk much.
    Habits(block=14, follow=20, several=2, status=1, operate=20),
    Habits(operate=25, status=12, leave=5, take_down=8, delete=20, spoilt=6),
    Habits(operate=20, post=40, follow=20, repost=16, block=0, status=1, leave=0, take_down=1, broken=1, odd=0),
    # One where everybody shuts somebody out.
    Habits(post=30, like=3, repost=3, gate=25, take_down=6),
)


async def run(directory: Path, seed: int, steps: int, watch: Watch, dice: random.Random | None = None) -> Counter[str]:
    """Raises AssertionError that names the seed; what happened is counted in the answer."""
    dice = dice or random.Random(seed)
    shards, settings, habits = dice.choice((1, 1, 4)), dice.choice(SETTINGS), dice.choice(HABITS)
    network = await FastNetwork(directory, dids(dice.randint(3, 6)), shards, settings).open()
    happened: Counter[str] = Counter()
    try:
        await network.begin()
        await _live(network, RandomNetwork(dice, network.dids, network.now, habits), steps, watch, f"seed {seed}")
        model = await network.settle()
        await _doubled(network, dice, watch, f"seed {seed}")
        assert model.refused == network.rejected, f"seed {seed}: the log refused what the model takes, or the reverse"
        happened["refused"] = model.refused
        happened["left out"] = sum(network.runner.decoder.invalid.values())
        happened["batches"] = network.runner.batches
    finally:
        await network.close()
    return happened


async def _live(network: FastNetwork, people: RandomNetwork, steps: int, watch: Watch, context: str) -> None:
    dice = people.dice
    for n, step in enumerate(people.steps(steps)):
        await network.do(step)
        watch.counts[type(step).__name__] += 1
        if dice.random() < 0.02:
            # Not only at the end: in the middle of whatever is going on, before one viewer.
            await _compare(network, [dice.choice((None, *network.dids))], dice, watch, f"{context} step {n}")
        if dice.random() < 0.004:
            await network.settle()
            live = digests(network.store, ALL)
            await network.rebuild()
            await network.settle()
            assert digests(network.store, ALL) == live, f"{context} step {n}: rebuilt"
    await _compare(network, [None, *network.dids], dice, watch, f"{context} at the end")


async def _compare(network: FastNetwork, viewers: list, dice: random.Random, watch: Watch, context: str) -> None:
    model = await network.settle()
    # Asked of one reader as long as there is one store: what it keeps in memory has to follow.
    if network.asked is None or network.asked.store is not network.cached:
        network.asked = InProcess(network.cached)
    asked = network.asked
    await Comparison(model, asked, network.dids, dice, watch=watch, context=context).everything(viewers)


async def _doubled(network: FastNetwork, dice: random.Random, watch: Watch, context: str) -> None:
    """The same log once more, in small batches, entries and messages coming twice and late."""
    store = SqliteStore(network.directory / "doubled.sqlite", [view.table for view in ALL])
    seed = dice.randrange(1 << 30)
    views = await StagedViews(network.log, store, network.settings, seed=seed, doubled=True).open()
    await views.feed(dice.choice((1, 3, 40)))
    assert views.stages.marks.dropped, f"{context}: nothing came twice"
    assert digests(store, ALL) == digests(network.store, ALL), f"{context}: doubled"
    viewer = dice.choice((None, *network.dids))
    comparison = Comparison(
        network.model, InProcess(store), network.dids, dice, watch=watch, context=f"{context} doubled"
    )
    await comparison.of_viewer(viewer)
    await store.close()
