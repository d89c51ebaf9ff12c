"""A derive process: `python -m tests.support.derive_driver SERVERS CLUSTER DIRECTORY SHARDS [fixed | group]`.

Says `taken` on stdout once it has come to the end of what was there. Ends with 3 when a lane has stopped by itself,
and says on stderr why.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.derive.worker import DeriveWorker
from tests.support.derive_world import STEP

BATCH = 9


async def drive(servers: str, cluster: str, directory: Path, shards: int, mode: str) -> int:
    settings = KafkaSettings(servers=servers, cluster=cluster, session_timeout_ms=2000, heartbeat_ms=300)
    only = range(shards) if mode == "fixed" else None
    worker = DeriveWorker(settings, directory, shards, only=only, step=STEP, batch=BATCH)
    await worker.start()
    said: dict[int, int] = {}
    failed = asyncio.ensure_future(worker.stopped())
    while not failed.done():
        if worker.places != said:
            said = dict(worker.places)
            os.write(1, f"places {said}\n".encode())
        await asyncio.wait((failed,), timeout=0.02)
    os.write(2, f"failed: {failed.result()!r}\n".encode())
    await worker.stop()
    return 3


if __name__ == "__main__":
    sys.exit(asyncio.run(drive(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])))
