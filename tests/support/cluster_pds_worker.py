"""A PDS of a cluster that writes until it is killed or stops. Says what it tries and is told, a JSON line each.

Every write is a commit of three new records, so that what is found says which writes are in, and that each is in whole.
Run as `python -m tests.support.cluster_pds_worker SERVERS CLUSTER NAME DIRECTORY SHARDS ROUNDS`; ends with 3 when its
log has stopped by itself.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import orjson
import structlog

from ingest.log_kafka.client import KafkaSettings
from ingest.pds.writes import Write
from schemas.errors import XrpcError
from schemas.syntax import Did
from tests.support.cluster_pds import ClusterPds
from tests.support.pds_world import POST, key

ACCOUNTS = 4
STOPPED = 3
SETTINGS = {"flush_interval": 0.05, "pending_retry": 0.2}


def say(kind: str, **what: object) -> None:
    os.write(1, orjson.dumps({"kind": kind, **what}) + b"\n")


async def keep_writing(world: ClusterPds, did: Did, rounds: int, first: int = 0) -> None:
    """One write after the other; one that is refused is tried again as another."""
    for number in range(first, first + rounds):
        keys = [str(key(3 * number + one)) for one in range(3)]
        say("try", did=did, keys=keys)
        try:
            await world.pds.apply_writes(did, [Write("create", POST, rkey, world.record(rkey)) for rkey in keys])
        except XrpcError as error:
            if error.status != 503:
                raise
            say("refused", did=did, keys=keys, why=error.message)
            await asyncio.sleep(0.1)
        else:
            say("told", did=did, keys=keys)


async def main(world: ClusterPds, rounds: int) -> int:
    await world.open()
    say("open")

    async def account(number: int) -> None:
        name = f"user{number}"
        say("try account", handle=name)
        did = (await world.account(name)).did
        say("account", handle=name, did=did)
        await keep_writing(world, did, rounds)

    work = asyncio.gather(*(account(number) for number in range(ACCOUNTS)))
    stopped = asyncio.create_task(world.log.stopped())
    await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
    if stopped.done():
        say("stopped", why=f"{type(stopped.result()).__name__}: {stopped.result()}")
        os._exit(STOPPED)
    await work
    await world.close()
    say("done")
    return 0


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    servers, cluster, name, directory, shards, rounds = sys.argv[1:]
    made = ClusterPds(
        Path(directory),
        SETTINGS,
        kafka=KafkaSettings(servers=servers, cluster=cluster),
        name=name,
        shards=int(shards),
    )
    sys.exit(asyncio.run(main(made, int(rounds))))
