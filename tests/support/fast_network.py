"""A network without HTTP: signed entries into a real log, the runner, the views, and the AppView called in process.

`clock` is the log's; a step takes a second. The same directory may be opened again (`reopen`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ingest.log import Rejected
from ingest.log_sqlite.log import SqliteLog
from processors.run_embedded import EmbeddedRunner
from schemas import cbor
from schemas.data import from_json
from schemas.entries import Account, Commit, Identity, Moderation
from schemas.operations import Operation
from schemas.syntax import Did, Handle
from schemas.tid import tid_from_micros
from tests.oracle.model import Model
from tests.support.asking import InProcess
from tests.support.random_network import Again, Named, Operate, Status, Step, Takedown, Write
from tests.support.signed_repo import SignedRepo
from views import ALL
from views.store_cached import KEPT, SLICED, CachedStore
from views.store_sqlite import SqliteStore
from views.view import FanoutSettings

START = 1_760_000_000_000_000
SECOND = 1_000_000
STEP = 7  # derived entries of one transaction of an expansion
# Everything that a large network does, in a small one: pull above 2 followers, give 3 posts, keep 5, look every time.
TIGHT = FanoutSettings(pull_above=2, backfill=3, keep=5, trim_every=1)


def dids(number: int) -> list[str]:
    return [f"did:plc:{name * 24}" for name in "abcdefghij"[:number]]


class FastNetwork:
    """Make one with `await FastNetwork(...).open()`."""

    def __init__(self, directory: Path, names: list[str], shards: int = 1, settings: FanoutSettings = TIGHT) -> None:
        self.directory = directory
        self.dids = names
        self.shards = shards
        self.settings = settings
        self.clock = START
        self.repos = {did: SignedRepo(did, START, n + 1) for n, did in enumerate(names)}
        self.model = Model()
        self._read = [0] * shards
        self._last: dict[str, Commit] = {}
        self.rejected = 0
        self.generation = 0
        self.asked: InProcess | None = None

    def now(self) -> int:
        return self.clock

    async def open(self) -> FastNetwork:
        self.log = await SqliteLog.open(self.directory / "log.sqlite", shards=self.shards, now=self.now, step=STEP)
        await self.open_views()
        return self

    async def open_views(self) -> None:
        path = self.directory / f"views{self.generation}.sqlite"
        self.store = SqliteStore(path, [view.table for view in ALL])
        # As in `headrace up`: readers' rows stay in memory from one moment to the next.
        small = self.settings != FanoutSettings()
        kept, sliced = (dict.fromkeys(KEPT, 8), dict.fromkeys(SLICED, 40)) if small else (KEPT, SLICED)
        self.cached = CachedStore(self.store, kept, sliced)
        self.runner = EmbeddedRunner(self.log, self.cached.behind, ALL, self.settings)
        await self.runner.start()

    async def close_views(self) -> None:
        await self.runner.stop()
        await self.store.close()

    async def rebuild(self) -> None:
        """Views from the start of the log, in a file of their own."""
        await self.close_views()
        self.generation += 1
        await self.open_views()

    async def close(self) -> None:
        await self.close_views()
        await self.log.close()

    async def begin(self) -> None:
        """Every account has a handle and an empty repo."""
        for n, did in enumerate(self.dids):
            name = Identity(Did(did), Handle(f"name{n}.test"))
            await self.log.append_many([name, Account(Did(did), "active"), self.repos[did].commit()])
            self.clock += SECOND

    async def do(self, step: Step) -> None:
        self.clock += SECOND
        if isinstance(step, Write):
            await self._write(step)
        elif isinstance(step, Status):
            if step.status in ("deleted", "active"):
                # What was deleted begins anew when it comes back; what was only away goes on.
                known = self.log.head(step.did)
                if step.status == "deleted" or (known is not None and known.status == "deleted"):
                    self.repos[step.did].begin()
            await self._append([Account(Did(step.did), step.status)])
        elif isinstance(step, Named):
            await self._append([Identity(Did(step.did), None if step.handle is None else Handle(step.handle))])
        elif isinstance(step, Takedown):
            await self._append([Moderation(step.subject, "because" if step.put else None)])
        elif isinstance(step, Operate):
            told = await self.log.operate(Operation(Did(step.did), step.kind, step.subject, step.value))
            self.model.operations.append((told.time, step.did, step.kind, step.subject, step.value))
        elif isinstance(step, Again) and step.did in self._last:
            await self._again(step)

    async def _again(self, step: Again) -> None:
        entry, repo = self._last[step.did], self.repos[step.did]
        if step.forked and repo.data is not None and entry.prev_data != repo.data:
            repo.clock = max(repo.clock, self.clock) + 1000
            entry = msgspec.structs.replace(entry, rev=tid_from_micros(repo.clock, 7))
        await self._append([entry])

    async def _write(self, step: Write) -> None:
        changes = [(path, None if value is None else encoded(value)) for path, value in step.changes]
        repo = self.repos[step.did]
        if all(repo.records.get(path) == record for path, record in changes):
            return
        repo.clock = max(repo.clock, self.clock)
        if step.diff:
            await self._append(repo.diff(changes, step.diff))
        else:
            entry = repo.commit(*changes)
            self._last[step.did] = entry
            await self._append([entry])

    async def _append(self, entries: list[Any]) -> None:
        try:
            await self.log.append_many(entries)
        except Rejected:
            # Of a refused group of several nothing stays in the log, so that the model does not hear of it.
            self.rejected += len(entries) == 1

    async def read(self) -> Model:
        """The model, brought up to the end of `commits`."""
        for shard in range(self.shards):
            while entries := await self.log.read_commits(shard, self._read[shard], 1000):
                for offset, entry in entries:
                    self.model.take(entry)
                    self._read[shard] = offset
        return self.model

    async def settle(self) -> Model:
        await self.runner.process_all()
        return await self.read()


def encoded(value: Any) -> bytes:
    return value if isinstance(value, bytes) else cbor.encode(from_json(value))
