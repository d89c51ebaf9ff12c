"""Whether the broker answers at all, said in a way that tells what to change.

Does not own the connection (`ingest.log_kafka.client`).
"""

from __future__ import annotations

import asyncio

from aiokafka.errors import KafkaError

from ingest.log_kafka.client import KafkaSettings, new_admin
from schemas.errors import InvariantError

# What a client raises while the broker is away, for whoever tries again.
AWAY = (KafkaError, OSError, TimeoutError)
_SECONDS = 15.0


async def reach(settings: KafkaSettings) -> None:
    """Raises InvariantError when no broker answers as the settings say."""
    try:
        admin = new_admin(settings)
        try:
            async with asyncio.timeout(_SECONDS):
                await admin.start()
        finally:
            await admin.close()
    except (*AWAY, ValueError) as error:
        raise InvariantError(
            f"expected a Kafka broker at {settings.servers} (security {settings.security}), found none that answers"
            f" ({error!r}): check kafka_servers, that it runs, and the kafka_ settings of security and passwords"
        ) from error
