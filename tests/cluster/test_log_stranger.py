"""docs/topics.md is enough to read `records`: its program, run as it stands there, finds what the log holds."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.topics import ensure_topics, topics_of
from schemas.entries import RecordEntry
from tests.support.derive_world import make_world
from tests.support.kafka_log import append, drop_topics, run_derive

pytestmark = pytest.mark.cluster

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "topics.md").read_text()
SHARDS = 2


@pytest.fixture
async def settings(kafka_servers: str, cluster_name: str) -> AsyncIterator[KafkaSettings]:
    made = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    await ensure_topics(made, SHARDS)
    yield made
    await drop_topics(made)


async def test_a_strangers_consumer_counts_what_is_live(settings: KafkaSettings, tmp_path: Path) -> None:
    world = await make_world(tmp_path / "log.sqlite", 41, 8, SHARDS)
    await append(settings, world.entries, SHARDS)
    await run_derive(settings, tmp_path / "derive", SHARDS)
    live: dict[str, tuple[str, int]] = {}
    for entry in [entry for shard in world.records for entry in shard]:
        if isinstance(entry, RecordEntry):
            live.pop(entry.uri, None)
            if entry.value is not None:
                live[entry.uri] = (entry.collection, len(entry.value))
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "consumer.py"
    path.write_text(program)

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(path), settings.servers, settings.cluster),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()

    assert process.returncode == 0
    assert json.loads(said) == {
        "records": Counter(collection for collection, _ in live.values()),
        "bytes": sum(size for _, size in live.values()),
    }
    assert live


def test_the_page_names_every_topic() -> None:
    assert [name for name in topics_of(1) if f"`{name}`" not in PAGE] == []
