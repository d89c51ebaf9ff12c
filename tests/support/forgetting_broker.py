"""A broker that may be made to forget the end of a transaction in a partition, as one does that has just come back.

It is not told that the partition is written to. A broker checks that by itself, so that this one is started which does
not. Owns nothing of what is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.producer.transaction_manager import TransactionManager

from ingest.log_kafka.client import KafkaSettings, new_admin


@pytest.fixture(scope="module")
def careless_broker(own_stack) -> Iterator[str]:
    """It takes what belongs to a transaction that it has not been told of."""
    servers = own_stack(brokers=1, stores=0).servers

    async def configure() -> None:
        admin = new_admin(KafkaSettings(servers=servers))
        await admin.start()
        try:
            careless = {"transaction.partition.verification.enable": "false"}
            await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, "1", configs=careless)])
        finally:
            await admin.close()

    asyncio.run(configure())
    return servers


class Forgetting:
    """While `on`, transactions are not told of a topic (its short name): their markers come to others alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
        self.on = False
        self.forgotten = 0
        told = TransactionManager.maybe_add_partition_to_txn

        def tell(manager, partition):
            if self.on and partition.topic.endswith(f".{topic}"):
                self.forgotten += 1
            else:
                told(manager, partition)

        monkeypatch.setattr(TransactionManager, "maybe_add_partition_to_txn", tell)
