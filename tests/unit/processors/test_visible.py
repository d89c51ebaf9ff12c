"""How long writes took to be seen: a real runner tells of each entry once, and only the one that is read is heard."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.metrics.visible import BOUNDS, VisibleCollector
from ingest.log_sqlite.log import SqliteLog
from processors.run_embedded import EmbeddedRunner
from schemas.tid import tid_from_micros
from tests.support.log_world import START, Repo, record_of
from views import ALL
from views.store_sqlite import SqliteStore


def shown(collector: VisibleCollector) -> tuple[dict[str, float], float]:
    """Buckets as they are scraped, and the sum."""
    (family,) = collector.collect()
    buckets = {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}
    return buckets, next(sample.value for sample in family.samples if sample.name.endswith("_sum"))


def test_each_entry_is_in_the_bucket_of_its_age() -> None:
    collector = VisibleCollector(lambda: 100_000_000)
    collector.seen([100_000_000 - micros for micros in (0, 5_000, 5_001, 700_000, 61_000_000)])
    collector.seen([100_000_001])  # the clock was set back
    buckets, seconds = shown(collector)

    assert buckets["0.005"] == 3
    assert buckets["0.01"] == buckets["0.5"] == 4
    assert buckets["1.0"] == buckets["60.0"] == 5
    assert buckets["+Inf"] == 6
    assert len(buckets) == len(BOUNDS) + 1
    assert seconds == pytest.approx(0.005 + 0.005001 + 0.7 + 61)


async def test_entries_of_the_runner_that_is_read_are_counted_once(tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path / "log.sqlite", shards=2)
    tables = [view.table for view in ALL]
    stores = [SqliteStore(tmp_path / f"{name}.sqlite", tables) for name in ("read", "other")]
    runners = [EmbeddedRunner(log, store, ALL) for store in stores]
    collector = VisibleCollector(lambda: START + 10_000_000_000_000)
    collector.follow(runners[0])
    for runner in runners:
        await runner.start()
    repo = Repo(1)

    async def write(number: int) -> int:
        """How many entries the runners have taken."""
        path = f"app.bsky.feed.post/{tid_from_micros(START + number, 0)}"
        await log.append(repo.write(path, record_of(f"post {number}")))
        for runner in runners:
            await runner.process_all()
        assert runners[0].entries == runners[1].entries
        return runners[0].entries

    try:
        first = await write(1)
        once = shown(collector)[0]["+Inf"]
        collector.follow(runners[1])
        second = await write(2)
        twice = shown(collector)[0]["+Inf"]
    finally:
        for runner in runners:
            await runner.stop()
        for store in stores:
            await store.close()
        await log.close()

    assert once == first > 0
    assert twice == second > first
