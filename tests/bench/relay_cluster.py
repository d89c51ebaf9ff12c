"""Rows `relay_cluster*`: events from another process's firehose into a cluster's `commits`, and derived of it.

The same host and relay as `relay_intake`, on Kafka: one broker (HEADRACE_TEST_KAFKA names one that runs, else one is
started), `SHARDS` shards, derive in a process of its own. By the clock everything shares the machine with the broker;
"a second of CPU" counts the relay's process alone, and derive's has a row of its own.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import uvloop

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.relay.log import KafkaRelayLog
from ingest.log_kafka.topics import ensure_topics
from ingest.relay.left_below import catch_up_with
from ingest.relay.relay import Relay
from schemas.topics import RECORDS
from tests.bench.cluster_parts import spent
from tests.bench.relay_intake import ACCOUNTS, EVENTS, crawled, hosting
from tests.bench.run import ROOT, Row, say
from tests.support.devstack.stack import Stack
from tests.support.kafka_log import derived, drop_topics, ends_of
from tests.support.network import _die_with_parent
from tests.support.stack import KAFKA

SHARDS = 4


def rows() -> list[Row]:
    """All rows, printed as they are made."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as held, hosting() as port:
        folder = Path(held)
        with broker(folder) as servers:
            kafka = KafkaSettings(servers=servers, cluster="bench" + secrets.token_hex(4))
            return [say(row) for row in uvloop.run(into(kafka, port, folder))]


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """Servers of one that runs, or of one of this run's own."""
    servers = os.environ.get(KAFKA)
    if servers:
        yield servers
        return
    own = Stack(folder / "stack", stores=0)
    try:
        own.start()
        yield own.servers
    finally:
        own.stop()


async def into(kafka: KafkaSettings, port: int, folder: Path) -> list[Row]:
    await ensure_topics(kafka, SHARDS)
    derive = deriving(kafka, folder)
    try:
        log = await KafkaRelayLog.open(kafka, folder, SHARDS)
        before = spent(derive)

        def mended(relay: Relay) -> None:
            log.follow(partial(catch_up_with, relay))

        begin = time.perf_counter()
        took = await crawled(log, port, folder, None, mended)
        await derived(kafka, SHARDS)
        whole = time.perf_counter() - begin
        cpu = spent(derive) - before
        # Each commit is a record and a head, and each account a status.
        assert sum((await ends_of(kafka, RECORDS, SHARDS)).values()) >= 2 * EVENTS > ACCOUNTS
        assert not log.refused
        await log.close()
    finally:
        derive.kill()
        derive.wait()
        await drop_topics(kafka)
    return [
        Row("relay_cluster", round(EVENTS / whole, 1), "events/s, derived"),
        Row("relay_cluster_appended", round(EVENTS / took.seconds, 1), "events/s"),
        Row("relay_cluster_per_cpu", round(EVENTS / took.cpu, 1), "events/CPU-s"),
        Row("relay_cluster_derive", round(cpu / EVENTS * 1e6, 1), "us/event"),
    ]


def deriving(kafka: KafkaSettings, folder: Path) -> subprocess.Popen[bytes]:
    """It serves."""
    arguments = ("derive", kafka.servers, kafka.cluster, "-", "-", str(SHARDS), str(folder / "derive"))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.cluster_worker", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing is locked by a thread of ours here
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


if __name__ == "__main__":
    rows()
