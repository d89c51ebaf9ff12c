"""Random streams of entries against a model made of plain dictionaries, through batches, groups and restarts."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.log import Rejected
from ingest.log_sqlite.log import SqliteLog
from tests.support.log_model import Model, Network, compare
from tests.support.log_world import START


async def drive(path: Path, seed: int, bursts: list[int], shards: int) -> None:
    now = {"time": START}

    def clock() -> int:
        now["time"] += [1, 1000, -5000][now["time"] % 3]
        return now["time"]

    async def start() -> SqliteLog:
        return await SqliteLog.open(path, shards=shards, now=clock, step=3, max_accounts=2)

    network, model = Network(seed, 3), Model()
    log = await start()
    refusals = 0
    for burst in bursts:
        network.follow(model)
        entries = [network.entry() for _ in range(burst)]
        results = await asyncio.gather(*(log.append(e) for e in entries), return_exceptions=True)
        for entry, result in zip(entries, results, strict=True):
            assert isinstance(result, Rejected) != model.accepts(entry), (entry, result)
            if isinstance(result, Rejected):
                refusals += 1
            else:
                assert not isinstance(result, BaseException), result
                model.apply(entry, result.time)
        if network.random.random() < 0.2:
            await log.close()
            log = await start()
    await compare(log, model, shards)
    assert sum(log.rejected.values()) <= refusals
    await log.close()
    log = await start()
    await compare(log, model, shards)
    await log.close()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), bursts=st.lists(st.integers(1, 12), min_size=1, max_size=10), shards=st.just(1))
def test_derived_state_is_what_a_dictionary_says(seed: int, bursts: list[int], shards: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(drive(Path(folder) / "log.sqlite", seed, bursts, shards))


def test_it_holds_on_several_shards_too(tmp_path: Path) -> None:
    """One entry after another: between shards no order is promised to concurrent appenders."""
    asyncio.run(drive(tmp_path / "log.sqlite", 7, [1] * 150, 4))
