"""What a cluster of a run's own leaves in a broker and a store: its topics and keyspaces, taken away.

Does not own which cluster that is (`cluster.py`). Names that a run did not choose are refused.
"""

from __future__ import annotations

from ingest.log_kafka.client import KafkaSettings, new_admin
from views.cql.session import CqlSession, CqlSettings

PREFIX = "load_"
"""Begins the names of clusters that runs make."""


async def drop_topics(settings: KafkaSettings) -> None:
    """Every topic of the cluster."""
    _is_ours(settings.cluster)
    admin = new_admin(settings)
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if name.startswith(settings.topic(""))]
        if names:
            await admin.delete_topics(names)
    finally:
        await admin.close()


async def drop_keyspaces(settings: CqlSettings) -> None:
    """Every keyspace of the cluster."""
    _is_ours(settings.keyspace)
    session = await CqlSession.connect(settings)
    try:
        for (name,) in await session.admin("SELECT keyspace_name FROM system_schema.keyspaces"):
            if name == settings.keyspace or name.startswith(f"{settings.keyspace}_"):
                await session.admin(f"DROP KEYSPACE {name}")
    finally:
        await session.close()


def _is_ours(name: str) -> None:
    if not name.startswith(PREFIX):
        raise ValueError(f"expected a name that begins with {PREFIX}, found {name!r}: it is not taken away")
