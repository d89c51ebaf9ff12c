"""One worker of a cluster as a process of its own, to be killed: `python -m tests.chaos.cluster.worker JSON`.

The JSON is a `Job`. Says `ready` on stdout once it has started, ends with 0 after SIGTERM, and with 1 and the reason
on stderr when it fails. As `headrace derive` and `headrace process`, but with the fan-out settings of small networks
and without listeners.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from ingest.log_kafka.client import KafkaSettings
from views import ALL
from views.store_scylla import CqlSettings, ScyllaStore
from views.view import FanoutSettings

GENERATION = "g1"
STEP = 7  # derived entries of one transaction of an expansion, as the twin has it


class Job(msgspec.Struct, frozen=True, kw_only=True):
    role: Literal["derive", "plain", "faust"]
    kafka: KafkaSettings
    cql: CqlSettings
    shards: int
    directory: str
    fanout: FanoutSettings


class _Worker(Protocol):
    @property
    def failure(self) -> BaseException | None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


async def main(job: Job) -> int:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    store: ScyllaStore | None = None
    worker: _Worker
    if job.role == "derive":
        from ingest.log_kafka.derive.worker import DeriveWorker

        worker = DeriveWorker(job.kafka, Path(job.directory), job.shards, step=STEP)
    else:
        store = await ScyllaStore.open(job.cql, GENERATION, [view.table for view in ALL], create=False)
        worker = _runner(job, store, ended)
    await worker.start()
    os.write(1, b"ready\n")
    while not ended.is_set() and worker.failure is None:
        try:
            async with asyncio.timeout(0.2):
                await ended.wait()
        except TimeoutError:
            continue
    await worker.stop()
    if store is not None:
        await store.close()
    if worker.failure is not None:
        print(f"failed: {worker.failure!r}", file=sys.stderr, flush=True)
        return 1
    return 0


def _end_with_parent() -> None:
    """stdin is a pipe of whoever started us: it ends when they do, however they end."""
    while os.read(0, 1024):
        pass
    os._exit(2)


def _runner(job: Job, store: ScyllaStore, ended: asyncio.Event) -> _Worker:
    if job.role == "faust":
        from processors.run_faust import FaustRunner as Runner
    else:
        from processors.run_plain import PlainRunner as Runner

    def failed(_error: BaseException) -> None:
        ended.set()

    return Runner(
        job.kafka, store, ALL, generation=GENERATION, shards=job.shards, settings=job.fanout, on_failure=failed
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(main(msgspec.json.decode(sys.argv[1], type=Job))))
