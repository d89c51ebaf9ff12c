"""Both runners come to the views of the one process, through workers that die at every point, and end when told to."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.log_kafka.client import KafkaSettings
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
from tests.support.cql_store import driver, drop_all
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
        self.directory = directory
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, crash: str = "") -> subprocess.Popen[bytes]:
        environment = {**os.environ, "HEADRACE_CRASH": crash}
        with self.log(len(self.started)).open("wb") as log:
            worker = subprocess.Popen(self._command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self.started.append(worker)
        return worker

    def log(self, number: int) -> Path:
        return self.directory / f"worker{number}.log"

    async def ended(self, worker: subprocess.Popen[bytes], seconds: float = 90.0) -> int:
        await until(lambda: worker.poll() is not None, seconds)
        assert worker.returncode is not None
        return worker.returncode

    def kill(self) -> None:
        for worker in self.started:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


async def until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)


@pytest.fixture
def settings(kafka_servers, cql_address, cluster_name):
    kafka = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    return kafka, CqlSettings(hosts=(cql_address[0],), port=cql_address[1], keyspace=cluster_name, driver=driver())


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


async def test_workers_end_by_themselves_when_the_broker_is_away(tmp_path, own_stack, cql_address, cluster_name):
    """Both kinds in one group; none listens anywhere, and none fills the log while nobody answers."""
    stack = own_stack(brokers=1, stores=0)
    kafka = KafkaSettings(servers=stack.servers, cluster=cluster_name)
    cql = CqlSettings(hosts=(cql_address[0],), port=cql_address[1], keyspace=cluster_name, driver=driver())
    await topics(kafka, SHARDS, "away")
    store = await ScyllaStore.open(cql, "away", TABLES, create=True)
    network = await made_network(tmp_path, 5, shards=SHARDS, steps=60)
    feed = Feed(kafka, network)
    workers = [Workers(kind, kafka, cql, "away", tmp_path / kind) for kind in ("plain", "faust")]
    try:
        for each in workers:
            each.directory.mkdir()
            each.start()
        await until(lambda: all("ready" in each.log(0).read_text() for each in workers))
        assert await feed.send()
        await caught_up(store, feed.ends)
        await same_rows(store, network, "both kinds")
        assert [listening(each.started[0].pid) for each in workers] == [set(), set()]
        quiet = [each.log(0).read_text().count("\n") for each in workers]
        stack.kafka[0].kill()
        await until(lambda: [each.log(0).read_text().count("\n") for each in workers] > quiet)
        begun = time.monotonic()
        for each in workers:
            each.started[0].terminate()
        codes = [await each.ended(each.started[0]) for each in workers]
        seconds = time.monotonic() - begun

        assert set(codes) <= {0, 75}
        assert seconds < 60
        assert all(each.log(0).read_text().count("\n") < 150 for each in workers)
    finally:
        for each in workers:
            each.kill()
        await network.close()
        await store.close()
        await drop_all(cql, "away")


def listening(pid: int) -> set[str]:
    """Local addresses of TCP sockets that a process listens on, as the kernel writes them."""
    own = {_link(name) for name in Path(f"/proc/{pid}/fd").iterdir()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                found.add(fields[1])
    return found


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return ""


def test_what_listens_would_be_seen():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        assert any(address.endswith(f":{port:04X}") for address in listening(os.getpid()))
