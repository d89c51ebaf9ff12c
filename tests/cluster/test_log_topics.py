"""Topics are created, checked, and refused with their cure."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from ingest.log_kafka.client import KafkaSettings, new_admin
from ingest.log_kafka.topics import (
    drop_hops,
    ensure_hops,
    ensure_topics,
    hold_compaction,
    topic_ids,
    topics_of,
)
from schemas.errors import InvariantError
from schemas.topics import COMMITS, EDGES, FIREHOSE, RECORDS, REJECTIONS, hop
from tests.support.kafka_log import drop_topics

pytestmark = pytest.mark.cluster

SHARDS = 2


@pytest.fixture
async def settings(kafka_servers: str, cluster_name: str) -> AsyncIterator[KafkaSettings]:
    # A deleted topic's name is not free at once.
    made = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}-{secrets.token_hex(3)}")
    await ensure_topics(made, SHARDS)
    yield made
    await drop_topics(made)


async def set_config(settings: KafkaSettings, name: str, **config: str) -> None:
    admin = new_admin(settings)
    await admin.start()
    spec = {key: str(value) for key, value in topics_of(SHARDS)[name].config.items()}
    spec |= {key.replace("_", "."): value for key, value in config.items()}
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic(name), configs=spec)])
        async with asyncio.timeout(30):
            while not config.items() <= (await config_of(admin, settings, name)).items():  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # brokers hear of it a moment later
    finally:
        await admin.close()


async def config_of(admin: AIOKafkaAdminClient, settings: KafkaSettings, name: str) -> dict[str, str]:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic(name))])
    return {entry[0].replace(".", "_"): entry[1] for entry in answer.resources[0][4]}


async def test_what_is_there_and_right_is_left_alone(settings: KafkaSettings) -> None:
    before = await topic_ids(settings, list(topics_of(SHARDS)))

    await ensure_topics(settings, SHARDS)

    assert await topic_ids(settings, list(topics_of(SHARDS))) == before
    assert len(set(before.values())) == len(topics_of(SHARDS))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        (RECORDS, "cleanup_policy", "delete"),
        (RECORDS, "min_compaction_lag_ms", "1000"),
        (RECORDS, "max_compaction_lag_ms", "604800000"),
        (RECORDS, "delete_retention_ms", "1000"),
        (RECORDS, "segment_ms", "604800000"),
        (COMMITS, "retention_ms", "1000"),
        (COMMITS, "max_message_bytes", "1048588"),
        (FIREHOSE, "retention_ms", "-1"),
        (REJECTIONS, "cleanup_policy", "delete"),
    ],
)
async def test_a_wrong_setting_is_refused_with_its_cure(
    name: str, key: str, value: str, settings: KafkaSettings
) -> None:
    await set_config(settings, name, **{key: value})

    with pytest.raises(InvariantError) as refused:
        await ensure_topics(settings, SHARDS)

    dotted = key.replace("_", ".")
    assert f"{settings.topic(name)} has {dotted}={value}, expected" in str(refused.value)
    assert f"--alter --topic {settings.topic(name)} --add-config {dotted}=" in str(refused.value)


async def test_another_number_of_shards_is_refused(settings: KafkaSettings) -> None:
    with pytest.raises(InvariantError, match=r"has 2 partitions, expected 3: the number of shards is fixed"):
        await ensure_topics(settings, 3)


async def test_too_few_insync_replicas_are_refused(settings: KafkaSettings) -> None:
    stricter = KafkaSettings(servers=settings.servers, cluster=settings.cluster, replication=2, min_insync=2)

    with pytest.raises(InvariantError) as refused:
        await ensure_topics(stricter, SHARDS)

    assert "has 1 replicas, expected 2" in str(refused.value)
    assert "has min.insync.replicas=1, expected 2" in str(refused.value)


async def test_held_compaction_is_no_fault_and_is_given_back(settings: KafkaSettings) -> None:
    await hold_compaction(settings, SHARDS, hold=True)
    await ensure_topics(settings, SHARDS)
    await lag_comes_to(settings, 2**63 - 1)

    await hold_compaction(settings, SHARDS, hold=False)
    await ensure_topics(settings, SHARDS)
    await lag_comes_to(settings, 24 * 3_600_000)


async def lag_comes_to(settings: KafkaSettings, milliseconds: int) -> None:
    admin = new_admin(settings)
    await admin.start()
    try:
        async with asyncio.timeout(60):
            while int((await config_of(admin, settings, RECORDS))["min_compaction_lag_ms"]) != milliseconds:  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # brokers hear of it a moment later
    finally:
        await admin.close()


async def test_hops_come_and_go_with_their_generation(settings: KafkaSettings) -> None:
    await ensure_hops(settings, "g1", SHARDS)
    await ensure_hops(settings, "g1", SHARDS)
    first = await topic_ids(settings, [hop(EDGES, "g1")])

    await drop_hops(settings, "g1")
    await drop_hops(settings, "g1")

    with pytest.raises(KafkaError):
        await topic_ids(settings, [hop(EDGES, "g1")])
    await ensure_hops(settings, "g1", SHARDS)
    assert await topic_ids(settings, [hop(EDGES, "g1")]) != first


async def test_a_topic_somebody_else_made_is_checked_too(settings: KafkaSettings) -> None:
    other = KafkaSettings(servers=settings.servers, cluster=settings.cluster + ".by-hand")
    admin = new_admin(settings)
    await admin.start()
    await admin.create_topics([NewTopic(other.topic(COMMITS), SHARDS, 1)])
    await admin.close()

    with pytest.raises(InvariantError, match=r"commits has retention\.ms=\d+, expected -1"):
        await ensure_topics(other, SHARDS)
