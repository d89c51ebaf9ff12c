"""derive over Kafka makes of `commits` what the embedded log makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.topics import ensure_topics
from tests.support.derive_world import STEP, check, dump, make_world
from tests.support.kafka_log import append, drop_topics, run_derive

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("seed_shards_batch", [(1, 1, 500), (2, 1, 1), (3, 2, 7), (4, 3, 500), (5, 1, 3)])
async def test_both_logs_derive_the_same(
    seed_shards_batch: tuple[int, int, int], kafka_servers: str, cluster_name: str, tmp_path: Path
) -> None:
    """Records and events are equal; and a state made from nothing is the one that went along."""
    seed, shards, batch = seed_shards_batch
    settings = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}-{seed}")
    await ensure_topics(settings, shards)
    world = await make_world(tmp_path / "log.sqlite", seed, 20, shards)
    await append(settings, world.entries, shards)

    worker = await run_derive(settings, tmp_path / "derive", shards, step=STEP, batch=batch)

    assert worker.entries == len(world.entries)
    assert sum(worker.rejected.values()) == world.refused
    await check(settings, world)
    await run_derive(settings, tmp_path / "anew", shards)
    for shard in range(shards):
        went_along, made_anew = (dump(tmp_path / name / f"shard-{shard}.sqlite") for name in ("derive", "anew"))
        assert went_along == made_anew
        assert any(went_along)
    await drop_topics(settings)
