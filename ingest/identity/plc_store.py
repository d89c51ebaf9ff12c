"""The did:plc directory of this network: validated operations in one SQLite file, group commit, read back by DID.

Writes are checked against the newest state inside the transaction that adds them and are on disk when `submit`
returns; several that wait share one fsync. The writer works in a thread of its own with its own connection; reads use
another one on the caller's thread. `created` is unix milliseconds and strictly rising over the whole directory, so that
`/export?after=` neither skips nor repeats.
Does not own the rules (plc.py, plc_limits.py), nor HTTP (api/plc).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Any

import apsw
import orjson

from ingest.identity import plc, plc_limits, plc_op
from ingest.identity.plc import LogEntry
from ingest.identity.plc_op import Operation, PlcReason, PlcRefused
from ingest.identity.reasons import IdentityReason, IdentityRefused
from schemas.cid import Cid
from schemas.syntax import Did

MAX_WAITING = 4096
MAX_EXPORT = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS operations (
    seq INTEGER PRIMARY KEY,
    did TEXT NOT NULL,
    cid BLOB NOT NULL,
    json BLOB NOT NULL,
    nullified INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS operations_by_did ON operations (did, seq);
CREATE UNIQUE INDEX IF NOT EXISTS operations_by_created ON operations (created);
"""
_COLUMNS = "seq, did, cid, json, nullified, created"

_Row = tuple[int, str, bytes, bytes, int, int]


@dataclass(frozen=True, slots=True)
class _Waiting:
    did: Did
    op: Operation
    done: asyncio.Future[None]


class PlcDirectory:
    """The domain of the directory, and the PlcClient adapter in process. `now` gives unix milliseconds."""

    def __init__(self, path: Path | str, now: Callable[[], int] = lambda: time_ns() // 1_000_000) -> None:
        self._now = now
        self._writer = _open(path)
        self._writer.execute(_SCHEMA)
        self._reader = _open(path)
        self._thread = ThreadPoolExecutor(1, "plc-writer")
        self._waiting: list[_Waiting] = []
        self._busy: asyncio.Task[None] | None = None

    async def submit(self, did: Did, op: Mapping[str, Any]) -> None:
        """Take a new operation. Raises PlcRefused; durable when it returns."""
        parsed = plc_op.parse(op)
        plc_limits.check(parsed)
        if len(self._waiting) >= MAX_WAITING:
            raise PlcRefused(PlcReason.BUSY, f"{MAX_WAITING} operations are waiting; try later")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(did, parsed, done))
        if self._busy is None:
            self._busy = asyncio.create_task(self._drain())
        await done

    async def document(self, did: Did) -> dict[str, Any]:
        return plc.format_document(await self.data(did))

    async def data(self, did: Did) -> dict[str, Any]:
        data = (await self._newest(did)).data(did)
        if data is None:
            raise IdentityRefused(IdentityReason.TOMBSTONED, f"DID not available: {did}")
        return data

    async def last(self, did: Did) -> dict[str, Any]:
        return (await self._newest(did)).json

    async def log(self, did: Did) -> list[dict[str, Any]]:
        """The operations that stand, oldest first."""
        return [orjson.loads(row[3]) for row in self._rows(did) if not row[4]]

    async def audit(self, did: Did) -> list[dict[str, Any]]:
        return [_exported(row) for row in self._rows(did)]

    async def export(self, count: int, after: int = 0) -> list[dict[str, Any]]:
        """The operations created after `after` (ms), oldest first; at most 1,000."""
        rows = self._read(
            f"SELECT {_COLUMNS} FROM operations WHERE created > ? ORDER BY created LIMIT ?",  # noqa: S608 - constants
            (after, min(count, MAX_EXPORT)),
        )
        return [_exported(row) for row in rows]

    async def export_after_seq(self, count: int, after: int) -> list[dict[str, Any]]:
        """As `export`, by sequence number, in the sequenced form."""
        rows = self._read(
            f"SELECT {_COLUMNS} FROM operations WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608 - constants
            (after, min(count, MAX_EXPORT)),
        )
        sequenced = []
        for row in rows:
            whole = _exported(row)
            del whole["nullified"]
            sequenced.append({"type": "sequenced_op", "seq": row[0]} | whole)
        return sequenced

    async def healthy(self) -> bool:
        """Whether the file still answers."""
        try:
            return bool(next(iter(self._reader.execute("SELECT 1"))) == (1,))
        except apsw.Error:
            return False

    async def close(self) -> None:
        """Finish what was taken, then close the file."""
        while self._busy is not None:
            await self._busy
        self._thread.shutdown()
        self._reader.close()
        self._writer.close()

    async def _newest(self, did: Did) -> Operation:
        rows = self._read(
            f"SELECT {_COLUMNS} FROM operations "  # noqa: S608 - constants
            "WHERE did = ? AND nullified = 0 ORDER BY seq DESC LIMIT 1",
            (did,),
        )
        if not rows:
            raise IdentityRefused(IdentityReason.NOT_FOUND, f"DID not registered: {did}")
        return plc_op.parse(orjson.loads(rows[0][3]))

    def _rows(self, did: Did) -> list[_Row]:
        rows = self._read(f"SELECT {_COLUMNS} FROM operations WHERE did = ? ORDER BY seq", (did,))  # noqa: S608
        if not rows:
            raise IdentityRefused(IdentityReason.NOT_FOUND, f"DID not registered: {did}")
        return rows

    def _read(self, statement: str, bindings: tuple[object, ...]) -> list[_Row]:
        return list(self._reader.execute(statement, bindings))

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    outcomes = await loop.run_in_executor(self._thread, self._commit, batch)
                except BaseException as error:
                    for item in batch:
                        if not item.done.done():
                            item.done.set_exception(error)
                    if isinstance(error, Exception):
                        continue  # told to everyone it concerned; the next batch meets the same fault or none
                    raise
                for item, refused in zip(batch, outcomes, strict=True):
                    if item.done.done():
                        continue
                    if refused is None:
                        item.done.set_result(None)
                    else:
                        item.done.set_exception(refused)
        finally:
            self._busy = None

    def _commit(self, batch: list[_Waiting]) -> list[PlcRefused | None]:
        """In the writer's thread: one transaction for the batch; a refused operation leaves nothing."""
        outcomes: list[PlcRefused | None] = []
        with self._writer:
            for item in batch:
                try:
                    self._add(item.did, item.op)
                    outcomes.append(None)
                except PlcRefused as refused:
                    outcomes.append(refused)
        return outcomes

    def _add(self, did: Did, op: Operation) -> None:
        rows: list[_Row] = list(
            self._writer.execute(
                f"SELECT {_COLUMNS} FROM operations WHERE did = ? AND nullified = 0 ORDER BY seq",  # noqa: S608
                (did,),
            ),
        )
        newest = next(iter(self._writer.execute("SELECT max(created) FROM operations")))[0]
        now = max(self._now(), (newest or 0) + 1)
        undone = plc.accept(did, [_entry(row) for row in rows], op, now)
        if not undone:
            # A recovery is not counted, or whoever stole a key could spend the owner's allowance.
            plc_limits.check_rate((row[5] for row in rows), now)
        for row in rows[len(rows) - len(undone) :]:
            self._writer.execute("UPDATE operations SET nullified = 1 WHERE seq = ?", (row[0],))
        self._writer.execute(
            "INSERT INTO operations (did, cid, json, created) VALUES (?, ?, ?, ?)",
            (str(did), bytes(op.cid), orjson.dumps(op.json), now),
        )


def _open(path: Path | str) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    connection.transaction_mode = "IMMEDIATE"  # else one that reads first would not wait for a backup, but fail
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _entry(row: _Row) -> LogEntry:
    return LogEntry(Did(row[1]), plc_op.parse(orjson.loads(row[3])), Cid(row[2]), bool(row[4]), row[5])


def _exported(row: _Row) -> dict[str, Any]:
    return {
        "did": row[1],
        "operation": orjson.loads(row[3]),
        "cid": str(Cid(row[2])),
        "nullified": bool(row[4]),
        "createdAt": plc.iso(row[5]),
    }
