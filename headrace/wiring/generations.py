"""Generations of a cluster, as a command or a role has them. Picks adapters, holds no logic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import views
from headrace.settings import Settings
from headrace.wiring import shared
from headrace.wiring.cluster import kafka_settings
from headrace.wiring.store import cql_settings
from processors.rebuild.kafka import ClusterGenerations
from views.generations_scylla import CqlRegistry


def of_cluster(registry: CqlRegistry, settings: Settings) -> ClusterGenerations:
    return ClusterGenerations(
        registry,
        kafka_settings(settings),
        cql_settings(settings),
        views.ALL,
        shards=settings.shards,
        now=shared.unix_micros,
    )


@asynccontextmanager
async def in_cluster(settings: Settings) -> AsyncIterator[ClusterGenerations]:
    """Raises InvariantError when the store is not there."""
    registry = await CqlRegistry.open(cql_settings(settings))
    try:
        yield of_cluster(registry, settings)
    finally:
        await registry.close()
