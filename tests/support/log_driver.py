"""A process that appends to a log until it is done or killed: `python -m tests.support.log_driver FILE SEED BURSTS`.

Writes `ack <offset> <time>` to stdout once an append has been answered. New accounts come as a group of three entries.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ingest.log import Rejected
from ingest.log_sqlite.log import SqliteLog
from schemas.entries import Account, Entry, Identity
from schemas.syntax import Handle
from tests.support.log_model import Model, Network
from tests.support.log_world import Repo, record_of

STEP = 4


async def send(log: SqliteLog, entries: Sequence[Entry]) -> None:
    try:
        results = await log.append_many(entries)
    except Rejected:
        return
    os.write(1, b"".join(b"ack %d %d\n" % (r.offset, r.time) for r in results))


async def drive(path: Path, seed: int, bursts: int) -> None:
    log = await SqliteLog.open(path, step=STEP, max_accounts=3)
    model = Model()
    await model.read(log)
    network = Network(seed, 4)
    for burst in range(bursts):
        network.follow(model)
        newcomer = Repo(1000 + 100 * seed + burst)
        groups: list[Sequence[Entry]] = [(network.entry(),) for _ in range(8)]
        born = newcomer.write("app.bsky.actor.profile/self", record_of("new"))
        groups.append((Identity(newcomer.did, Handle("new.test")), Account(newcomer.did, "active"), born))
        await asyncio.gather(*(send(log, group) for group in groups))
        model = Model()
        await model.read(log)
    await log.close()


if __name__ == "__main__":
    asyncio.run(drive(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
