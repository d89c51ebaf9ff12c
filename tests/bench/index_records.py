"""Row `index_records`: a log of the measured population, from its start into empty views, in one process.

Usage: python -m tests.bench.index_records FOLDER, where FOLDER/data is a stopped network's directory; the views are
built beside the old ones, which stay as they are. Prints one JSON line.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import orjson
import uvloop

import views
from ingest.log_sqlite.log import SqliteLog
from processors.run_embedded import EmbeddedRunner
from views.store_sqlite import SqliteStore


async def measure(folder: Path) -> None:
    log = await SqliteLog.open(folder / "data" / "log.sqlite", shards=1)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        store = SqliteStore(Path(fresh) / "views.sqlite", [view.table for view in views.ALL])
        runner = EmbeddedRunner(log, store, views.ALL)
        begin = time.perf_counter()
        await runner.start()
        await runner.process_all()
        seconds = time.perf_counter() - begin
        await runner.stop()
        await store.close()
    await log.close()
    row = {"name": "index_records", "value": round(runner.entries / seconds, 1), "unit": "records/s"}
    print(orjson.dumps(row).decode())


if __name__ == "__main__":
    uvloop.run(measure(Path(sys.argv[1])))
