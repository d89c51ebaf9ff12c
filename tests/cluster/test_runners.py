"""Both runners come to the views of the one process, through workers that die at every point, and end when told to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.log_kafka_client import KafkaSettings
from tests.support.cluster_views import (
    TABLES,
    Feed,
    caught_up,
    dropped,
    made_network,
    same_rows,
    same_timelines,
    topics,
)
from views.store_scylla import CqlSettings, ScyllaStore

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
SHARDS = 2
POINTS = {
    "plain": (
        "lane.before_send",
        "lane.after_send",
        "lane.after_rows",
        "lane.after_deciding",
        "lane.after_before_images",
        "lane.after_progress",
        "lane.after_watermark",
    ),
    "faust": ("lane.after_send", "lane.after_deciding"),
}


class Workers:
    """Processes of one generation; all end with the test."""

    def __init__(self, kind: str, kafka: KafkaSettings, cql: CqlSettings, generation: str, directory: Path) -> None:
        address = f"{cql.hosts[0]}:{cql.port}"
        arguments = (kind, kafka.servers, kafka.cluster, address, cql.keyspace, generation, str(SHARDS))
        self._command = [sys.executable, "-m", "tests.support.views_worker", *arguments]
        self._directory = directory
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, crash: str = "") -> subprocess.Popen[bytes]:
        environment = {**os.environ, "HEADRACE_CRASH": crash}
        with self.log(len(self.started)).open("wb") as log:
            worker = subprocess.Popen(self._command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self.started.append(worker)
        return worker

    def log(self, number: int) -> Path:
        return self._directory / f"worker{number}.log"

    async def ended(self, worker: subprocess.Popen[bytes], seconds: float = 45.0) -> int:
        await until(lambda: worker.poll() is not None, seconds)
        assert worker.returncode is not None
        return worker.returncode

    def kill(self) -> None:
        for worker in self.started:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)


@pytest.fixture
def settings(kafka_servers, cql_address, cluster_name):
    kafka = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    return kafka, CqlSettings(hosts=(cql_address[0],), port=cql_address[1], keyspace=cluster_name)


@pytest.mark.parametrize("kind", ["plain", "faust"])
async def test_workers_that_die_anywhere_leave_the_views_of_one_process(tmp_path, settings, kind):
    """Between aborted transactions, whose entries nobody sees; then two workers at once, one of which goes."""
    kafka, cql = settings
    kafka = KafkaSettings(servers=kafka.servers, cluster=f"{kafka.cluster}{kind}")
    await topics(kafka, SHARDS, kind)
    store = await ScyllaStore.open(cql, kind, TABLES, create=True)
    network = await made_network(tmp_path, len(kind), shards=SHARDS, steps=260)
    feed = Feed(kafka, network)
    workers = Workers(kind, kafka, cql, kind, tmp_path)
    try:
        for number, point in enumerate(POINTS[kind]):
            assert await feed.send(25)
            worker = workers.start(f"{point}:{2 + number % 3}")
            assert await workers.ended(worker) == -signal.SIGKILL
            assert f"crash: {point}" in workers.log(number).read_text()
        first = workers.start()
        assert await feed.send(30)
        await caught_up(store, feed.ends)
        second = workers.start()
        assert await feed.send()
        await until(lambda: "ready" in workers.log(len(workers.started) - 1).read_text())
        first.terminate()
        assert await workers.ended(first) == 0
        await caught_up(store, feed.ends)
        second.terminate()
        assert await workers.ended(second) == 0

        await same_rows(store, network, kind)
        await same_timelines(store, network, kind)
    finally:
        workers.kill()
        await network.close()
        await store.close()
        await dropped(kafka, cql, kind)
