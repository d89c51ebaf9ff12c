"""What is made, or only checked, before the roles of a cluster start: topics and tables.

Does not own their shapes (`ingest.log_kafka.topics`, `views.cql.schema`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from headrace.roles import check
from headrace.settings import Settings
from headrace.wiring.cluster import kafka_settings
from headrace.wiring.store import TABLES, cql_settings
from ingest.log_kafka import topics as log_kafka_topics
from ingest.log_kafka.reach import reach
from views.store_scylla import ScyllaStore


def run(name: str, settings: Settings) -> dict[str, Any]:
    """What was found. Raises InvariantError with the cure, SettingsError."""
    command, needs = COMMANDS[name]
    check(name.replace("_", " "), settings, needs)

    async def made() -> dict[str, Any]:
        return await command(settings)

    return asyncio.run(made())


async def create_topics(settings: Settings) -> dict[str, Any]:
    kafka = kafka_settings(settings)
    await reach(kafka)
    await log_kafka_topics.ensure_topics(kafka, settings.shards)
    return _topics(settings)


async def check_topics(settings: Settings) -> dict[str, Any]:
    kafka = kafka_settings(settings)
    await reach(kafka)
    await log_kafka_topics.check_topics(kafka, settings.shards)
    return _topics(settings)


def _topics(settings: Settings) -> dict[str, Any]:
    names = [f"{settings.cluster}.{name}" for name in log_kafka_topics.topics_of(settings.shards)]
    return {"topics": names, "shards": settings.shards}


async def create_schema(settings: Settings) -> dict[str, Any]:
    return await _schema(settings, create=True)


async def check_schema(settings: Settings) -> dict[str, Any]:
    return await _schema(settings, create=False)


async def _schema(settings: Settings, *, create: bool) -> dict[str, Any]:
    store = await ScyllaStore.open(cql_settings(settings), settings.generation, TABLES, create=create)
    await store.close()
    return {"keyspace": store.keyspace, "tables": len(TABLES)}


COMMANDS: dict[str, tuple[Callable[[Settings], Awaitable[dict[str, Any]]], tuple[str, ...]]] = {
    "create_topics": (create_topics, ("kafka_servers",)),
    "check_topics": (check_topics, ("kafka_servers",)),
    "create_schema": (create_schema, ("cql_hosts",)),
    "check_schema": (check_schema, ("cql_hosts",)),
}
