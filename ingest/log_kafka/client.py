"""How every part of a cluster reaches Kafka: its settings, and producers and consumers that keep the log's promises.

A producer is idempotent and waits for all replicas; a consumer sees what is committed and nothing else, and commits
nothing by itself. Does not own topics (`ingest.log_kafka.topics`) nor who produces and consumes.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Literal, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from ingest.log_kafka.requests import Requests

MESSAGE_BYTES = 7 << 20  # an entry of `commits` may have 6 MiB
_T = TypeVar("_T")
_BATCH_BYTES = 1 << 20  # a request carries one batch a partition, and one request is under way a broker


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`servers` is "host:port,..."; `cluster` prefixes every topic, group and transactional id.

    `transaction_timeout_ms` bounds how long a dead owner's open transaction hides what comes after it.
    """

    servers: str
    cluster: str = "headrace"
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    transaction_timeout_ms: int = 10_000
    session_timeout_ms: int = 6_000
    heartbeat_ms: int = 1_000
    replication: int = 1
    min_insync: int = 1
    requests: Requests | None = None
    """Where what producers and consumers ask is timed, if anybody wants to know."""

    def topic(self, name: str) -> str:
        """The broker's name of one of this cluster's topics."""
        return f"{self.cluster}.{name}"

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"KafkaSettings(servers={self.servers!r}, cluster={self.cluster!r}, security={self.security!r})"


def new_producer(
    settings: KafkaSettings, *, transactional_id: str | None = None, linger_ms: int = 0
) -> AIOKafkaProducer:
    """An idempotent producer, not started; with a transactional id its start fences the id's former owner."""
    transaction = {} if transactional_id is None else {"transaction_timeout_ms": settings.transaction_timeout_ms}
    producer = AIOKafkaProducer(
        **_connection(settings),
        **transaction,
        acks="all",
        enable_idempotence=True,
        transactional_id=transactional_id,
        linger_ms=linger_ms,
        max_batch_size=_BATCH_BYTES,
        max_request_size=MESSAGE_BYTES,
    )
    if settings.requests is not None:
        settings.requests.watch(producer.client)
    return producer


def new_consumer(
    settings: KafkaSettings,
    *topics: str,
    group: str | None = None,
    reset: Literal["earliest", "none"] = "earliest",
    wait_ms: int = 500,
    fetch_bytes: int = MESSAGE_BYTES,
) -> AIOKafkaConsumer:
    """A consumer of committed messages, not started; `topics` are full names, none where partitions are assigned.

    `reset`: where to go on when the offset asked for is no longer there; "none" raises instead. `wait_ms`: how long the
    broker holds an answer back while there is no news. `fetch_bytes`: how much of a partition one answer holds; a batch
    that is larger comes whole, alone (KIP-74).
    """
    consumer = AIOKafkaConsumer(
        *topics,
        **_connection(settings),
        group_id=group,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset=reset,
        max_partition_fetch_bytes=fetch_bytes,
        fetch_max_wait_ms=wait_ms,
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.heartbeat_ms,
    )
    if settings.requests is not None:
        settings.requests.watch(consumer._client)  # noqa: SLF001 - it has no other name
    return consumer


def forget_fetched(consumer: AIOKafkaConsumer, partition: TopicPartition) -> None:
    """Give back what was fetched of a partition and will not be read.

    aiokafka lets go of it as a cycle (`PartitionRecords` and its own generator), up to `MESSAGE_BYTES` each, which the
    collector of a process that makes few objects comes to see after hours.
    """
    fetched = consumer._fetcher._records.pop(partition, None)  # noqa: SLF001 - it has no other name
    unread = getattr(fetched, "_partition_records", None)
    if unread is not None and unread._records_iterator is not None:  # noqa: SLF001
        unread._records_iterator.close()  # noqa: SLF001


def heard(future: asyncio.Future[_T]) -> asyncio.Future[_T]:
    """The same; a failure that nobody comes to await, since another came first, is not reported as never retrieved."""
    future.add_done_callback(_hear)
    return future


async def stop_producer(producer: AIOKafkaProducer) -> None:
    """Stop it, and hear what a fencing has left for whoever would have ended its transaction."""
    try:
        await producer.stop()
    finally:
        manager = producer._txn_manager  # noqa: SLF001 - it keeps the future that is reported
        ending = None if manager is None or manager.transactional_id is None else manager.wait_for_transaction_end()
        if ending is not None:
            heard(ending)


def _hear(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def new_admin(settings: KafkaSettings) -> AIOKafkaAdminClient:
    """A client for topics and offsets, not started."""
    return AIOKafkaAdminClient(**_connection(settings))


def _connection(settings: KafkaSettings) -> dict[str, Any]:
    kept: dict[str, Any] = {"bootstrap_servers": settings.servers, "security_protocol": settings.security}
    if (context := tls(settings)) is not None:
        kept["ssl_context"] = context
    if settings.security.startswith("SASL"):
        kept["sasl_mechanism"] = settings.sasl_mechanism or "PLAIN"
        kept["sasl_plain_username"] = settings.sasl_username
        kept["sasl_plain_password"] = settings.sasl_password
    return kept


def tls(settings: KafkaSettings) -> ssl.SSLContext | None:
    """What a broker's certificate is checked by, and ours if we have one; None where nothing is encrypted."""
    if not settings.security.endswith("SSL"):
        return None
    context = ssl.create_default_context(cafile=settings.ssl_ca)
    if settings.ssl_cert is not None:
        context.load_cert_chain(settings.ssl_cert, settings.ssl_key)
    return context
