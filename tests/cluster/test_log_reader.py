"""A reader that goes from place to place gives back at once what was fetched and not read, megabytes each time."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.consumer.fetcher import PartitionRecords

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.reader import PartitionReader
from ingest.log_kafka.topics import ensure_topics
from schemas.topics import COMMITS
from tests.support.derive_world import make_world
from tests.support.kafka_log import append, drop_topics

pytestmark = pytest.mark.cluster


@pytest.fixture
async def settings(kafka_servers: str, cluster_name: str, request) -> AsyncIterator[KafkaSettings]:
    made = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}-{abs(hash(request.node.name))}")
    await ensure_topics(made, 1)
    yield made
    await drop_topics(made)


@pytest.fixture
def uncollected():
    """No collector meanwhile: what is in a cycle stays, as in a process that makes few objects."""
    gc.collect()
    gc.disable()
    yield lambda: sum(isinstance(each, PartitionRecords) for each in gc.get_objects())
    gc.enable()


async def test_what_was_fetched_and_not_read_is_not_kept(settings: KafkaSettings, tmp_path: Path, uncollected) -> None:
    world = await make_world(tmp_path / "log.sqlite", 31, 5, 1)
    await append(settings, world.entries, 1)
    reader = PartitionReader(settings, COMMITS, 0)
    before = uncollected()
    for place in (0, 2) * 10:
        (message,) = await reader.read(place, 1)
        assert message.offset >= place
    assert uncollected() - before <= 1
    await reader.close()
    assert uncollected() == before


async def test_one_who_wants_one_entry_is_not_sent_all_that_follow(settings: KafkaSettings, tmp_path: Path) -> None:
    world = await make_world(tmp_path / "log.sqlite", 31, 5, 1)
    for entry in world.entries:
        await append(settings, [entry], 1)  # a batch each, as the broker keeps them
    whole, one = PartitionReader(settings, COMMITS, 0), PartitionReader(settings, COMMITS, 0, fetch_bytes=1)
    assert len(await whole.read(0, 5000)) == len(world.entries)
    assert [each.offset for each in await one.read(0, 5000)] == [0]
    await whole.close()
    await one.close()
