"""What the broker and the store do by themselves, with the clients that are in use: the limits beside a cluster's rows.

Does not own the cluster.
"""

from __future__ import annotations

import time

from aiokafka import TopicPartition

from ingest.log_kafka.client import KafkaSettings, new_consumer, new_producer
from ingest.log_kafka.topics import ensure_topics
from schemas.topics import COMMITS
from tests.bench.run import Row
from tests.support.kafka_log import drop_topics
from views.cql.session import CqlSession
from views.cql.settings import CqlSettings

VALUE = b"x" * 300
_MESSAGES = 60_000
_IN_FLIGHT = 200


async def broker(kafka: KafkaSettings) -> list[Row]:
    """Messages a second into and out of one partition, 300 bytes each, acknowledged by all, idempotent."""
    await ensure_topics(kafka, 1)
    topic = kafka.topic(COMMITS)
    producer, consumer = new_producer(kafka), new_consumer(kafka)
    await producer.start()
    await consumer.start()
    try:
        begun = time.perf_counter()
        for _ in range(_MESSAGES):
            last = await producer.send(topic, VALUE, key=b"key", partition=0)
        await producer.flush()
        await last
        produced = time.perf_counter() - begun
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        begun, came = time.perf_counter(), 0
        while came < _MESSAGES:
            came += sum(map(len, (await consumer.getmany(timeout_ms=1_000)).values()))
        consumed = time.perf_counter() - begun
    finally:
        await consumer.stop()
        await producer.stop()
        await drop_topics(kafka)
    return [
        Row("limit_produce", round(_MESSAGES / produced), "messages/s"),
        Row("limit_consume", round(_MESSAGES / consumed), "messages/s"),
    ]


async def store(cql: CqlSettings, seconds: float) -> list[Row]:
    """Rows a second, one a statement and fifty a mutation, and slices of fifty rows read back."""
    session = await CqlSession.connect(cql)
    keyspace = f"{cql.keyspace}_limits"
    await session.admin(
        f"CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    try:
        await session.admin(f"CREATE TABLE {keyspace}.rows (p text, c bigint, v text, PRIMARY KEY (p, c))")
        put = await session.prepare(f"INSERT INTO {keyspace}.rows (p, c, v) VALUES (?, ?, ?) USING TIMESTAMP ?")
        get = await session.prepare(f"SELECT p, c, v FROM {keyspace}.rows WHERE p = ? LIMIT 50")
        text = VALUE.decode()

        async def rate(make, rows: int) -> float:
            begun, turns = time.perf_counter(), 0
            while time.perf_counter() - begun < seconds:
                await session.run([make(turns * _IN_FLIGHT + place) for place in range(_IN_FLIGHT)])
                turns += 1
            return round(turns * _IN_FLIGHT * rows / (time.perf_counter() - begun))

        one = await rate(lambda n: put.bind((f"one{n}", n, text, n + 1)), 1)
        many = await rate(lambda n: session.batch([put.bind((f"many{n}", c, text, n + 1)) for c in range(50)]), 50)
        slices = await rate(lambda n: get.bind((f"many{n % _IN_FLIGHT}",)), 1)
    finally:
        await session.admin(f"DROP KEYSPACE {keyspace}")
        await session.close()
    return [
        Row("limit_writes", one, "statements/s"),
        Row("limit_rows_by_50", many, "rows/s"),
        Row("limit_slices", slices, "slices/s"),
    ]
