"""A process of the measured cluster: `python -m tests.bench.cluster_worker derive|process` and what `main` takes.

As the roles run it (uvloop, settings as they ship), without what surrounds them. Prints `ready`; ends on SIGTERM.
HEADRACE_TEST_CQL_DRIVER in the environment names another driver than theirs, HEADRACE_BENCH_PROFILE a file for a
profile of its loop, HEADRACE_BENCH_PHASES one to which each SIGUSR1 adds what its lanes have waited for since the last.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import signal
import sys
from pathlib import Path

import uvloop

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.derive.worker import DeriveWorker
from processors.run_plain import PlainRunner
from tests.bench.lane_phases import Phases
from tests.support.cql_store import DRIVER
from views import ALL
from views.store_scylla import CqlSettings, ScyllaStore, reads_fast


async def main(kind: str, servers: str, cluster: str, cql: str, generation: str, shards: int, directory: str) -> None:  # noqa: PLR0917
    kafka = KafkaSettings(servers=servers, cluster=cluster)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    if kind == "derive":
        derive = DeriveWorker(kafka, Path(directory), shards, only=range(shards))
        await derive.start()
        print("ready", flush=True)
        await ended.wait()
        await derive.stop()
        return
    host, _, port = cql.rpartition(":")
    driver = os.environ.get(DRIVER) or ("acsylla" if reads_fast() else "scylla-driver")
    settings = CqlSettings(hosts=(host,), port=int(port), keyspace=cluster, driver=driver)
    store = await ScyllaStore.open(settings, generation, [view.table for view in ALL], create=False)
    told = os.environ.get("HEADRACE_BENCH_PHASES")
    if told:
        phases = Phases().__enter__()

        def tell() -> None:
            with Path(told).open("a") as file:
                print(phases.shown(), file=file)

        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    runner = PlainRunner(kafka, store, ALL, generation=generation, shards=shards, on_failure=lambda _: ended.set())
    await runner.start()
    print("ready", flush=True)
    profile = cProfile.Profile() if os.environ.get("HEADRACE_BENCH_PROFILE") else None
    if profile is not None:
        profile.enable()
    await ended.wait()
    if profile is not None:
        profile.disable()
        profile.dump_stats(os.environ["HEADRACE_BENCH_PROFILE"])
    await runner.stop()
    await store.close()


if __name__ == "__main__":
    kind, servers, cluster, cql, generation, shards, directory = sys.argv[1:]
    uvloop.run(main(kind, servers, cluster, cql, generation, int(shards), directory))
