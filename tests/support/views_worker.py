"""A process of processors alone: `python -m tests.support.views_worker` and the arguments of `main`.

Prints `ready` once it has joined; ends on SIGTERM with 0, on a failure with 1. Crash points are armed as everywhere.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from ingest.log_kafka.client import KafkaSettings
from processors.run_faust import FaustRunner
from processors.run_plain import PlainRunner
from tests.support.cql_store import driver
from tests.support.fast_network import TIGHT
from views import ALL
from views.store_scylla import CqlSettings, ScyllaStore

RUNNERS = {"plain": PlainRunner, "faust": FaustRunner}


async def main(kind: str, servers: str, cluster: str, cql: str, keyspace: str, generation: str, shards: str) -> int:  # noqa: PLR0917
    host, _, port = cql.rpartition(":")
    settings = CqlSettings(hosts=(host,), port=int(port), keyspace=keyspace, driver=driver())
    store = await ScyllaStore.open(settings, generation, [view.table for view in ALL], create=False)
    ended = asyncio.Event()
    runner = RUNNERS[kind](
        KafkaSettings(servers=servers, cluster=cluster, session_timeout_ms=2_500, heartbeat_ms=500),
        store,
        ALL,
        generation=generation,
        shards=int(shards),
        settings=TIGHT,
        on_failure=lambda _: ended.set(),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await runner.start()
    print("ready", flush=True)
    await ended.wait()
    await runner.stop()
    await store.close()
    return 0 if runner.failure is None else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
