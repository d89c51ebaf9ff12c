"""What an append in a Kafka transaction of a PDS costs, over 1, 4 and 16 shards and by the pause between transactions.

Run as `python -m tests.bench.kafka_append [--servers HOST:PORT] [--seconds 3]`. Writers have one account each, and
write again as soon as they are answered. The pause is what `ingest.log_kafka.pds.writer.GATHER` is chosen by.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from pathlib import Path

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.pds import writer as log_kafka_pds_writer
from ingest.log_kafka.pds.log import KafkaPdsLog
from ingest.log_kafka.topics import ensure_topics
from tests.support.kafka_log import drop_topics
from tests.support.log_world import Repo, record_of

WRITERS = (1, 32, 256)
PAUSES = (0.0, 0.001, 0.003, 0.01)


async def row(servers: str, shards: int, pause: float, seconds: float) -> str:
    log_kafka_pds_writer.GATHER = pause
    kafka = KafkaSettings(servers=servers, cluster=f"bench{secrets.token_hex(4)}")
    await ensure_topics(kafka, shards)
    cells = []
    with tempfile.TemporaryDirectory() as directory:
        log = await KafkaPdsLog.open(kafka, "bench", Path(directory), shards)
        first = 0
        for writers in WRITERS:
            repos = [Repo(first + number) for number in range(writers)]
            first += writers
            cells.append(await measure(log, repos, seconds))
        await log.close()
    await drop_topics(kafka)
    return f"{shards:>6} {pause * 1000:>6.0f} ms " + " ".join(cells)


async def measure(log: KafkaPdsLog, repos: list[Repo], seconds: float) -> str:
    took: list[float] = []
    before, end = log.transactions, time.perf_counter() + seconds

    async def write(repo: Repo) -> None:
        number = 0
        while time.perf_counter() < end:
            entry = repo.write(f"app.bsky.feed.post/{number}", record_of(f"{number}"))
            number += 1
            begun = time.perf_counter()
            await log.append(entry)
            took.append(time.perf_counter() - begun)

    await asyncio.gather(*(write(repo) for repo in repos))
    took.sort()
    p50, p99 = (took[int(len(took) * part)] * 1000 for part in (0.5, 0.99))
    transactions = (log.transactions - before) / seconds
    return f"| {len(took) / seconds:>7.0f}/s {p50:>6.1f} {p99:>6.1f} ms {transactions:>5.0f} tx/s "


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", default="127.0.0.1:19092")
    parser.add_argument("--seconds", type=float, default=3)
    asked = parser.parse_args()
    head = " ".join(f"| {f'{writers} writers: rate, p50, p99, transactions':<38}" for writers in WRITERS)
    sys.stdout.write(f"shards  pause {head}\n")
    for shards in (1, 4, 16):
        for pause in PAUSES:
            sys.stdout.write(await row(asked.servers, shards, pause, asked.seconds) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
