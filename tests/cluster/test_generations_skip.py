"""`headrace log skip` in a cluster: what stops derive names its cure, and the record of it lets the shard pass."""

from __future__ import annotations

import asyncio
from traceback import format_exception

import pytest

from ingest.log_kafka.client import KafkaSettings, new_producer
from ingest.log_kafka.derive.worker import DeriveWorker
from ingest.log_kafka.topics import ensure_topics
from schemas.entries import Account
from schemas.topics import COMMITS
from tests.support.cql_store import drop_all, settings_of
from tests.support.kafka_log import PATIENCE, append, caught_up, drop_topics, records_of
from tests.support.log_world import START, Repo
from views.generations import Skip
from views.generations_scylla import CqlRegistry

pytestmark = pytest.mark.cluster


async def test_an_entry_that_derive_cannot_read_is_left_out_by_an_operator_s_word(
    kafka_servers, cql_address, cluster_name, tmp_path
):
    kafka = KafkaSettings(servers=kafka_servers, cluster=f"{cluster_name}skip")
    cql = settings_of(cql_address)
    await ensure_topics(kafka, 1)
    registry = await CqlRegistry.open(cql)
    try:
        producer = new_producer(kafka)
        await producer.start()
        bad = (await producer.send_and_wait(kafka.topic(COMMITS), b"\x09\x01\x90", b"did:web:a", 0)).offset + 1
        await producer.stop()
        await append(kafka, [Account(Repo(3).did, "active", START)], 1)
        stopping = DeriveWorker(kafka, tmp_path, 1, only=[0], skips=registry.skipped)
        await stopping.start()
        async with asyncio.timeout(PATIENCE):
            failure = await stopping.stopped()
        await stopping.stop()
        assert f"headrace log skip commits 0 {bad} --reason" in "".join(format_exception(failure))

        await registry.skip(Skip("commits", 1, bad, "of another shard", START))
        await registry.skip(Skip("commits", 0, bad, "it is of no version", START))
        passing = DeriveWorker(kafka, tmp_path, 1, only=[0], skips=registry.skipped)
        await passing.start()
        await caught_up(kafka, passing, 1)
        await passing.stop()

        assert {entry.did for entry in await records_of(kafka, 0)} == {Repo(3).did}
        assert [(skip.shard, skip.reason) for skip in await registry.skips()] == [
            (0, "it is of no version"),
            (1, "of another shard"),
        ]
    finally:
        await registry.close()
        await drop_topics(kafka)
        await drop_all(cql)
