"""A PDS with its real log, directory and files, in this process; `restart` opens the same files again."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.identity.handles import HandleResolver
from ingest.identity.plc_store import PlcDirectory
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.resolver import IdentityResolver
from ingest.log import RepoIndex
from ingest.log_sqlite.log import SqliteLog
from ingest.pds.login import Session
from ingest.pds.parts import Parts
from ingest.pds.pds import Pds
from ingest.pds.settings import PdsSettings
from ingest.pds.writer import Applied
from ingest.pds.writes import Write
from ingest.repo.mst import Tree
from schemas import lexicon
from schemas.datetimes import from_micros
from schemas.syntax import Did, Handle
from schemas.tid import Tid, tid_from_micros

START = 1_700_000_000_000_000
SERVICE_DID = "did:web:pds.test"
PUBLIC_URL = "https://pds.test"
POST = "app.bsky.feed.post"
PASSWORD = "hunter22"
# Hashing is what makes accounts slow to make; its strength is not what these tests are about.
FAST = {"argon2_memory_kib": 8, "argon2_time": 1, "flush_interval": 3600.0, "blob_gc_interval": 3600.0}


def key(number: int) -> Tid:
    """A record key of posts; rises with `number`."""
    return tid_from_micros(START + number, 0)


class Dns:
    """TXT records that a test sets: handle -> DID."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    async def lookup(self, name: str) -> tuple[str, ...]:
        did = self.names.get(name.removeprefix("_atproto."))
        return () if did is None else (f"did={did}",)


class NoWeb:
    async def get(self, url: str, limit: int, accept: str = "*/*", redirects: int = 3):  # noqa: ARG002 - the port's
        raise IdentityRefused(IdentityReason.NOT_FOUND, f"{url}: there is no web in this test")


@dataclass
class World:
    """`now` is unix microseconds and moves by a millisecond a look."""

    directory: Path
    settings: dict[str, Any] = field(default_factory=dict)
    shards: int = 1
    now: int = START
    domain: str = ".test"
    dns: Dns = field(default_factory=Dns)
    log: Any = None
    plc: PlcDirectory | None = None
    resolver: IdentityResolver | None = None
    pds: Pds | None = None
    _numbers: Any = field(default_factory=itertools.count)

    def clock(self) -> int:
        self.now += 1000
        return self.now

    async def open(self) -> World:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log, foreign = await self.open_log()
        self.plc = PlcDirectory(self.directory / "plc.sqlite", now=lambda: self.clock() // 1000)

        async def local(handle: Handle) -> Did | None:
            return None if self.pds is None else await self.pds.local_handle(handle)

        handles = HandleResolver(self.dns, NoWeb(), local, (".test",))
        self.resolver = IdentityResolver(self.plc, handles, NoWeb(), now=lambda: self.now / 1e6)
        self.pds = await Pds.open(
            Parts(
                self.directory,
                log=self.log,
                foreign=foreign,
                plc=self.plc,
                resolver=self.resolver,
                catalogue=lexicon.load(),
                service_did=SERVICE_DID,
                public_url=PUBLIC_URL,
                settings=PdsSettings(**(FAST | self.settings)),
                now=self.clock,
            )
        )
        return self

    async def open_log(self) -> tuple[Any, RepoIndex | None]:
        """The log, and what shows accounts that live elsewhere."""
        log = await SqliteLog.open(self.directory / "log.sqlite", shards=self.shards, now=self.clock)
        return log, log

    async def close(self) -> None:
        assert self.pds is not None
        await self.pds.close()
        await self.resolver.close()
        await self.plc.close()
        await self.log.close()
        self.pds = None

    async def restart(self) -> World:
        await self.close()
        return await self.open()

    async def account(self, name: str | None = None, email: str | None = None) -> Session:
        name = name or f"user{next(self._numbers)}"
        email = email or f"{name}@example.com"
        return await self.pds.create_account(handle=f"{name}{self.domain}", email=email, password=PASSWORD)

    async def post(self, did: Did, text: str = "hello", rkey: str | None = None) -> Applied:
        return await self.pds.apply_writes(did, [Write("create", POST, rkey, self.record(text))])

    def record(self, text: str = "hello", **more: Any) -> dict[str, Any]:
        return {"$type": POST, "text": text, "createdAt": from_micros(self.now), **more}

    def file(self, did: str) -> Path:
        return self.pds._parts.files.path(did)

    def check_repo(self, did: str) -> list[str]:
        """The account's paths, once log index, file and signed head are shown to say the same."""
        known = self.log.head(did)
        tree = Tree.empty()
        paths: list[str] = []
        while page := self.log.paths(did, None, paths[-1] if paths else ""):
            paths += page
        for path in paths:
            tree.put(path, self.log.record(did, path)[0])
        assert tree.write()[0] == known.data, f"{did}: the log's records do not make the root of its signed head"
        return paths


async def pieces(data: bytes, size: int = 65_536):
    for start in range(0, len(data), size):
        yield data[start : start + size]
    if not data:
        yield b""


async def joined(chunks) -> bytes:
    return b"".join([chunk async for chunk in chunks])
