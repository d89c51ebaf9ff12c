"""The cluster's topics: created where they are missing, checked where they are there, refused when they are wrong.

Does not own what is in them (docs/topics.md says it) nor when they are truncated (`ingest.log_kafka.truncate`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from ingest.log_kafka.client import MESSAGE_BYTES, KafkaSettings, new_admin
from ingest.log_kafka.topic_ids import topic_ids
from schemas.errors import InvariantError
from schemas.topics import COMMITS, EDGES, FANOUT, FIREHOSE, LABELS, OPERATIONS, PDS, RECORDS, REJECTIONS, hop

__all__ = [
    "check_topics",
    "compaction_held",
    "delete_records",
    "drop_hops",
    "ensure_hops",
    "ensure_topics",
    "hold_compaction",
    "topic_ids",
]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_FOR_EVER = 2**63 - 1
_CREATION_SECONDS = 60
_PAUSE_SECONDS = 0.05

Config = dict[str, str | int]

_SIZE: Config = {"max.message.bytes": MESSAGE_BYTES}
_KEPT: Config = {"cleanup.policy": "delete", "retention.ms": -1, "retention.bytes": -1, **_SIZE}
_WINDOW: Config = {"cleanup.policy": "delete", "retention.ms": 72 * HOUR_MS, "segment.ms": 6 * HOUR_MS, **_SIZE}
_COMPACTED: Config = {
    "cleanup.policy": "compact",
    "min.compaction.lag.ms": 24 * HOUR_MS,
    "max.compaction.lag.ms": 48 * HOUR_MS,
    "segment.ms": 6 * HOUR_MS,
    "delete.retention.ms": 14 * DAY_MS,
    **_SIZE,
}
_SMALL = {REJECTIONS, PDS}  # read to the end by whoever needs them: no generation is built of them
_HELD: Config = {"min.compaction.lag.ms": _FOR_EVER, "max.compaction.lag.ms": _FOR_EVER}
# A topic that keeps longer than it must is not wrong, nor is one whose compaction a build holds.
_AT_LEAST = {"min.compaction.lag.ms", "delete.retention.ms", "max.message.bytes", "min.insync.replicas"}


class Spec(msgspec.Struct, frozen=True):
    """What a topic has to be."""

    partitions: int
    config: Mapping[str, str | int]


def topics_of(shards: int) -> dict[str, Spec]:
    """The topics of a cluster by their short names."""
    compacted = Spec(shards, _COMPACTED)
    return {
        COMMITS: Spec(shards, _KEPT),
        RECORDS: compacted,
        FIREHOSE: Spec(1, _WINDOW),
        OPERATIONS: compacted,
        LABELS: compacted,
        REJECTIONS: Spec(1, _COMPACTED),
        PDS: Spec(1, _COMPACTED),
    }


async def ensure_topics(settings: KafkaSettings, shards: int) -> None:
    """Create what is missing, check what is there. Raises InvariantError: found, expected, and the cure."""
    await _ensure(settings, topics_of(shards))


async def check_topics(settings: KafkaSettings, shards: int) -> None:
    """Create nothing: what is missing is refused like what is wrong."""
    wanted = topics_of(shards)
    admin = await _started(settings)
    try:
        described = await _described(admin)
        missing = [settings.topic(name) for name in wanted if settings.topic(name) not in described]
        if missing:
            raise InvariantError(
                f"expected the topics {', '.join(missing)}, found none of that name: make them (headrace topics create)"
            )
        await _check(admin, settings, wanted)
    finally:
        await admin.close()


async def ensure_hops(settings: KafkaSettings, generation: str, shards: int) -> None:
    """The same for a generation's hops: never dropped by time, they are truncated behind stored progress."""
    await _ensure(settings, {hop(name, generation): Spec(shards, _KEPT) for name in (EDGES, FANOUT)})


async def drop_hops(settings: KafkaSettings, generation: str) -> None:
    """Delete a generation's hops; those that are gone already stay gone."""
    admin = await _started(settings)
    try:
        answer = await admin.delete_topics([settings.topic(hop(name, generation)) for name in (EDGES, FANOUT)])
    finally:
        await admin.close()
    for name, code, *_ in answer.topic_error_codes:
        if code not in (0, UnknownTopicOrPartitionError.errno):
            raise for_code(code)(f"{name} could not be deleted")


async def delete_records(settings: KafkaSettings, before: Mapping[tuple[str, int], int]) -> None:
    """Drop what lies below an offset of (short name, shard); offsets are the log's own, Kafka's + 1."""
    wanted = {
        TopicPartition(settings.topic(name), shard): RecordsToDelete(before_offset=offset - 1)
        for (name, shard), offset in before.items()
        if offset > 1
    }
    if not wanted:
        return
    admin = await _started(settings)
    try:
        await admin.delete_records(wanted)
    finally:
        await admin.close()


async def hold_compaction(settings: KafkaSettings, shards: int, *, hold: bool) -> None:
    """Keep compaction from taking anything of `records`, `operations` and `labels`, or let it work again."""
    config = {**_COMPACTED, **(_HELD if hold else {}), "min.insync.replicas": settings.min_insync}
    names = _held_names(shards)
    admin = await _started(settings)
    try:
        texts = {key: str(value) for key, value in config.items()}
        for name in names:
            answers = await admin.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, settings.topic(name), configs=texts)]
            )
            for answer in answers:
                for code, message, *_ in answer.resources:
                    if code:
                        raise for_code(code)(f"{settings.topic(name)}: {message}")
    finally:
        await admin.close()


async def compaction_held(settings: KafkaSettings, shards: int) -> bool:
    """Whether it is kept from any of `records`, `operations` and `labels`."""
    names = [settings.topic(name) for name in _held_names(shards)]
    admin = await _started(settings)
    try:
        found = await _configs(admin, names)
    finally:
        await admin.close()
    return any(found[name].get(key) == str(value) for name in names for key, value in _HELD.items())


def _held_names(shards: int) -> list[str]:
    return [name for name, spec in topics_of(shards).items() if spec.config is _COMPACTED and name not in _SMALL]


async def _ensure(settings: KafkaSettings, wanted: Mapping[str, Spec]) -> None:
    admin = await _started(settings)
    try:
        known = await _described(admin)
        missing = {name: spec for name, spec in wanted.items() if settings.topic(name) not in known}
        if missing:
            await _create(admin, settings, missing)
        async with asyncio.timeout(_CREATION_SECONDS):
            while True:
                try:
                    return await _check(admin, settings, wanted)
                except UnknownTopicOrPartitionError:  # made a moment ago, and the broker that is asked does not know
                    await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        await admin.close()


async def _started(settings: KafkaSettings) -> AIOKafkaAdminClient:
    admin = new_admin(settings)
    try:
        await admin.start()
    except BaseException:
        await admin.close()
        raise
    return admin


async def _described(admin: AIOKafkaAdminClient) -> dict[str, Any]:
    """All topics by full name; asking for one by name might create it."""
    return {topic["topic"]: topic for topic in await admin.describe_topics()}


async def _create(admin: AIOKafkaAdminClient, settings: KafkaSettings, missing: Mapping[str, Spec]) -> None:
    new = [
        NewTopic(
            settings.topic(name),
            spec.partitions,
            settings.replication,
            topic_configs={key: str(value) for key, value in _config(settings, spec).items()},
        )
        for name, spec in missing.items()
    ]
    answer = await admin.create_topics(new)
    for topic, code, *rest in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)(f"{topic} could not be created: {rest}")
    async with asyncio.timeout(_CREATION_SECONDS):
        while True:
            topics = await _described(admin)
            if all(_is_led(settings.topic(name), topics) for name in missing):
                return
            await asyncio.sleep(_PAUSE_SECONDS)


def _is_led(name: str, topics: Mapping[str, Any]) -> bool:
    return name in topics and all(partition["leader"] >= 0 for partition in topics[name]["partitions"])


def _config(settings: KafkaSettings, spec: Spec) -> dict[str, str | int]:
    return {**spec.config, "min.insync.replicas": settings.min_insync}


async def _check(admin: AIOKafkaAdminClient, settings: KafkaSettings, wanted: Mapping[str, Spec]) -> None:
    described = await _described(admin)
    found = await _configs(admin, [settings.topic(name) for name in wanted])
    wrong = []
    for name, spec in wanted.items():
        topic = settings.topic(name)
        if topic not in described:
            raise UnknownTopicOrPartitionError(topic)
        partitions = described[topic]["partitions"]
        if len(partitions) != spec.partitions:
            wrong.append(
                f"{topic} has {len(partitions)} partitions, expected {spec.partitions}: the number of shards is fixed "
                "when a cluster is created; go back to that setting, or start a new cluster and replay into it"
            )
        replicas = min((len(partition["replicas"]) for partition in partitions), default=0)
        if replicas < settings.replication:
            wrong.append(
                f"{topic} has {replicas} replicas, expected {settings.replication}: reassign its partitions "
                "(kafka-reassign-partitions.sh), or set the replication that is meant"
            )
        for key, value in _config(settings, spec).items():
            is_value = found[topic].get(key, "nothing")
            if not _fits(key, is_value, value):
                wrong.append(
                    f"{topic} has {key}={is_value}, expected {value}: kafka-configs.sh --bootstrap-server "
                    f"{settings.servers} --alter --topic {topic} --add-config {key}={value}"
                )
    if wrong:
        raise InvariantError("; ".join(wrong))


def _fits(key: str, found: str, value: str | int) -> bool:
    if found == str(value) or (key in _HELD and found == str(_HELD[key])):
        return True
    return key in _AT_LEAST and found.lstrip("-").isdigit() and int(found) >= int(value)


async def _configs(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(asked):
        for code, message, _, topic, entries in answer.resources:
            if code:
                raise for_code(code)(f"{topic}: {message}")
            found[topic] = {entry[0]: entry[1] for entry in entries}
    return found
