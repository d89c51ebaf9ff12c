"""`headrace doctor` of a cluster: what is missing is found with its cure, and nothing once it is made."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace import preparing
from headrace.doctor.examine import examine
from headrace.doctor.finding import Finding
from headrace.settings import Settings, load
from headrace.wiring.cluster import kafka_settings
from headrace.wiring.store import TABLES, cql_settings
from tests.support import cql_store
from tests.support.kafka_log import drop_topics
from views.generations import Generation, shape_of
from views.generations_scylla import CqlRegistry

pytestmark = pytest.mark.cluster


@pytest.fixture
async def settings(
    tmp_path: Path, kafka_servers: str, cql_address: tuple[str, int], cluster_name: str
) -> AsyncIterator[Settings]:
    """Names that nothing has been made under."""
    host, port = cql_address
    name = f"{cluster_name}{secrets.token_hex(3)}"
    store = {"cql_hosts": host, "cql_port": port, "cql_keyspace": name, "cql_driver": cql_store.driver()}
    made = load({"data": tmp_path / "none", "cluster": name, "kafka_servers": kafka_servers, "shards": 2, **store})
    yield made
    await drop_topics(kafka_settings(made))
    await cql_store.drop_all(cql_settings(made), made.generation)


async def found_with(settings: Settings) -> dict[str, Finding]:
    return {each.check: each for each in await examine(settings)}


async def test_what_is_missing_is_found_and_made(settings: Settings) -> None:
    missing = await found_with(settings)
    await preparing.create_topics(settings)
    await preparing.create_schema(settings)
    unregistered = await found_with(settings)
    registry = await CqlRegistry.open(cql_settings(settings))
    await registry.add(Generation(settings.generation, "building", shape_of(TABLES), {}, 0, settings.shards))
    await registry.close()
    whole = await found_with(settings)
    other = await found_with(settings.model_copy(update={"shards": 3}))

    assert [name for name, each in missing.items() if not each.well] == ["topics", "views"]
    assert "headrace topics create" in missing["topics"].message
    assert "no generation is live" in missing["views"].message
    assert [name for name, each in unregistered.items() if not each.well] == ["views"]
    assert [name for name, each in whole.items() if each.well] == [
        *("names", "broker", "topics", "clock of the log", "store", "clock of the store", "views", "compaction"),
    ]
    assert "has 2 partitions, expected 3" in other["topics"].message
