"""A process that is to die: a random network into the log of a directory, its views beside it, until it is killed.

`python -m tests.support.crash_child DIRECTORY SEED STEPS SHARDS`. It says on stdout, unbuffered, `did N` once step N
has been acknowledged. On a directory that has a log it goes on where a dead one stopped: repos are read back from it.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from itertools import chain
from pathlib import Path

from schemas import crash
from tests.support.fast_network import STEP, FastNetwork, dids
from tests.support.random_network import POST, Habits, RandomNetwork, Status, Write, key

ACTORS = 4


def steps(seed: int, number: int, network: FastNetwork):
    """The same steps in every process: they do not depend on when it dies. The last bury more than one step may."""
    somebody = network.dids[0]
    post = {"$type": POST, "text": "", "createdAt": "2026-01-01T00:00:00Z"}
    much = Write(somebody, tuple((f"{POST}/{key(100 + n)}", post) for n in range(3 * STEP)))
    people = RandomNetwork(random.Random(seed), network.dids, network.now, Habits(spoilt=3, gate=6))
    return chain(people.steps(number), (Status(somebody, "active"), much, Status(somebody, "deleted")))


async def main(directory: Path, seed: int, number: int, shards: int) -> None:
    crash.arm(None)  # how many batches the beginning takes depends on the machine
    network = await FastNetwork(directory, dids(ACTORS), shards).open()
    await network.begin()
    await network.settle()
    crash.arm(os.environ.get(crash.ENVIRONMENT))
    for n, step in enumerate(steps(seed, number, network)):
        await network.do(step)
        os.write(1, f"did {n}\n".encode())
    await network.settle()
    os.write(1, b"done\n")
    await network.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
