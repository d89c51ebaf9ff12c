"""What the clients of a real broker and a real store are asked is timed by kind, and a broker that is away counted."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from headrace.metrics.calls import KafkaCollector, StoreCollector
from ingest.log_kafka.client import KafkaSettings, new_consumer, new_producer
from ingest.log_kafka.requests import Requests
from ingest.log_kafka.topics import ensure_topics
from schemas.topics import COMMITS
from tests.support.kafka_log import drop_topics
from views import posts
from views.cql.settings import CqlSettings
from views.store import Batch
from views.store_scylla import ScyllaStore

pytestmark = pytest.mark.cluster


@pytest.fixture
async def kafka(kafka_servers: str, cluster_name: str) -> AsyncIterator[KafkaSettings]:
    settings = KafkaSettings(servers=kafka_servers, cluster=cluster_name, requests=Requests())
    await ensure_topics(settings, 1)
    yield settings
    await drop_topics(settings)


def counted(requests: Requests) -> dict[str, int]:
    return {kind: sum(timings.counts) for kind, timings in requests.by_kind.items()}


async def test_a_transaction_and_its_reader_are_timed_by_kind(kafka: KafkaSettings) -> None:
    requests = kafka.requests
    assert requests is not None
    producer = new_producer(kafka, transactional_id=f"{kafka.cluster}-timed")
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(kafka.topic(COMMITS), b"value", partition=0)
    await producer.stop()
    written = counted(requests)
    consumer = new_consumer(kafka, kafka.topic(COMMITS))
    await consumer.start()
    message = await consumer.getone()
    await consumer.stop()
    families = {family.name: family for family in KafkaCollector(requests).collect()}

    assert message.value == b"value"
    assert (written["commit"], written["fetch"]) == (1, 0)
    assert written["produce"] >= 1  # again, while the topic has no leader yet
    assert counted(requests)["fetch"] >= 1
    assert {kind: timings.failed for kind, timings in requests.by_kind.items()} == dict.fromkeys(requests.by_kind, 0)
    samples = families["headrace_kafka_request_duration_seconds"].samples
    totals = {each.labels["request"]: each.value for each in samples if each.name.endswith("_count")}
    assert totals == counted(requests)


async def test_a_broker_that_is_away_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    requests = Requests()
    client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{port}")
    requests.watch(client)
    with pytest.raises(KafkaError):
        await client.send(0, MetadataRequest([]))
    await client.close()

    assert {kind: timings.failed for kind, timings in requests.by_kind.items() if timings.failed} == {"other": 1}


async def test_reads_and_writes_of_the_store_are_timed_apart(cql_address: tuple[str, int], cluster_name: str) -> None:
    cql = CqlSettings(hosts=(cql_address[0],), port=cql_address[1], keyspace=cluster_name)
    store = await ScyllaStore.open(cql, "g1", (posts.TABLE,), create=True)
    try:
        await store.get_many(posts.TABLE, [("at://a/b/c",)])
        read = (sum(store.reads.counts), sum(store.writes.counts))
        await store.apply(Batch({}, {}, {("records", 0): 1}, {}))
        families = {family.name: family for family in StoreCollector(lambda: store).collect()}
    finally:
        await store.close()
        await ScyllaStore.drop(cql, "g1")

    assert read == (1, 0)
    samples = families["headrace_store_request_duration_seconds"].samples
    totals = {each.labels["access"]: each.value for each in samples if each.name.endswith("_count")}
    assert totals == {"read": 1, "write": sum(store.writes.counts)}
    assert totals["write"] >= 1
