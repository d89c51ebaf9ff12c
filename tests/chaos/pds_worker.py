"""A PDS that works until it is killed. Says on stdout what it tries and what it was told: one JSON line each.

Run by test_pds_crash.py as `python -m tests.chaos.pds_worker DIRECTORY SEED`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path

import orjson

from ingest.pds.writes import Write
from schemas.errors import XrpcError
from tests.support.pds_world import PASSWORD, POST, World, key, pieces

ROUNDS = 60
ACCOUNTS = 3
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
SETTINGS = {"flush_interval": 0.01, "blob_gc_age": 0, "blob_gc_interval": 0.02}


def say(kind: str, **what: object) -> None:
    os.write(1, orjson.dumps({"kind": kind, **what}) + b"\n")


class RealTime(World):
    def clock(self) -> int:
        self.now = time.time_ns() // 1000
        return self.now


class Worker:
    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.seed = seed

    async def account(self, number: int) -> None:
        chance = random.Random(self.seed * 1000 + number)
        name = f"w{self.seed}-{number}"
        say("try account", handle=f"{name}.test")
        did = (await self.world.account(name)).did
        say("account", handle=f"{name}.test", did=did)
        live: dict[int, bool] = {}
        for _ in range(ROUNDS):
            await self._write(did, chance, live)
            if chance.random() < 0.3:
                await self._blob(did, chance)
        if number == ACCOUNTS - 1:
            say("try delete", did=did)
            await self.world.pds._parts.lifecycle.delete(did)
            say("delete", did=did)

    async def _write(self, did: str, chance: random.Random, live: dict[int, bool]) -> None:
        writes, said, changed = [], {}, {}
        for number in chance.sample(range(30), chance.randint(1, 4)):
            path = f"{POST}/{key(number)}"
            if live.get(number) and chance.random() < 0.4:
                writes.append(Write("delete", POST, key(number)))
                said[path], changed[number] = None, False
            else:
                text = f"{chance.random()}"
                writes.append(Write("put", POST, key(number), self.world.record(text)))
                said[path], changed[number] = text, True
        say("try write", did=did, said=said)
        applied = await self.world.pds.apply_writes(did, writes)
        live.update(changed)
        say("write", did=did, said=said, rev=applied.rev)

    async def _blob(self, did: str, chance: random.Random) -> None:
        data = PNG + chance.randbytes(50)
        blob = await self.world.pds.upload_blob(did, pieces(data), "image/png")
        number = chance.randrange(100, 104)
        shown = {"$type": "blob", "ref": blob.cid, "mimeType": blob.mime, "size": blob.size}
        embed = {"$type": "app.bsky.embed.images", "images": [{"image": shown, "alt": ""}]}
        record = self.world.record(text=str(blob.cid), embed=embed)
        path = f"{POST}/{key(number)}"
        say("try write", did=did, said={path: str(blob.cid)}, blob=str(blob.cid))
        try:
            await self.world.pds.apply_writes(did, [Write("put", POST, key(number), record)])
        except XrpcError as error:
            # The collector waits for nothing here: it may be faster than the record.
            assert error.name == "BlobNotFound", error  # noqa: PT017
            say("gone", did=did, said={path: None})
            return
        say("write", did=did, said={path: str(blob.cid)}, blob=str(blob.cid))


async def main(directory: Path, seed: int) -> None:
    world = await RealTime(directory, SETTINGS).open()
    worker = Worker(world, seed)
    await asyncio.gather(*(worker.account(number) for number in range(ACCOUNTS)))
    await world.close()
    say("done", password=PASSWORD)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
