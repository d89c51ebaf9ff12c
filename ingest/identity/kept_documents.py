"""DID documents that outlive the process: one SQLite file, bounded in rows, the longest unused making room.

A cache: it may be lost at any time, so a file that is damaged or of another format is made anew, with a line in the
log. What is learnt gathers in memory and is written by a thread of its own, a batch a transaction; what a crash loses
is asked for again. Times are of the wall clock, unix seconds: a monotonic one does not survive. Reads are one look at a
primary key, on the caller's thread. Does not own how long a document is believed (`swr_cache.py`).
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import orjson
import structlog

FORMAT = 1
PENDING_MAX = 10_000  # documents that wait to be written, and marks of use; when more do, the first is let go
FLUSH_SECONDS = 2.0
USED_SECONDS = 3_600  # a row's time of use is written again when it is older than this
MAX_DOCUMENT = 65_536  # bytes, before compression; larger ones are not kept

_TABLES = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents(
  did TEXT PRIMARY KEY, document BLOB NOT NULL, fetched INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS documents_by_use ON documents(used);
"""
# A document gone from the network is deleted; so is one of a DID that is to be asked for anew.
_GONE = None

_log = structlog.get_logger()


class KeptDocuments:
    """`run` until cancelled writes what gathers; `close` writes the rest. `now` gives unix seconds."""

    def __init__(self, path: Path, rows: int, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._most = rows
        self._now = now
        self._writer, self._reader = _open(path)
        self.rows = int(_rows(self._writer, "SELECT count(*) FROM documents")[0][0])
        self._thread = ThreadPoolExecutor(1, "kept-documents")
        self._pending: dict[str, tuple[bytes, int] | None] = {}
        self._used: dict[str, int] = {}
        self._woken = asyncio.Event()
        self.hits = 0
        """Documents that the file told."""
        self.evicted = 0

    def get(self, did: str) -> tuple[Any, float] | None:
        """A document and how many seconds ago it was fetched."""
        if did in self._pending:
            found = self._pending[did]
            if found is None:
                return None
            raw, fetched = found
        else:
            rows = _rows(self._reader, "SELECT document, fetched, used FROM documents WHERE did=?", (did,))
            if not rows:
                return None
            raw, fetched, used = rows[0]
            if self._now() - used > USED_SECONDS and len(self._used) < PENDING_MAX:
                self._used[did] = int(self._now())
        self.hits += 1
        # A clock that was set back since makes nothing younger than it can be.
        return orjson.loads(zlib.decompress(raw)), max(0.0, self._now() - fetched)

    def put(self, did: str, document: Any) -> None:
        """Keep parsed JSON that has just been fetched."""
        raw = orjson.dumps(document)
        if len(raw) <= MAX_DOCUMENT:
            self._wait(did, (zlib.compress(raw, 1), int(self._now())))

    def drop(self, did: str) -> None:
        """The DID has no document any more, or is to be asked for anew."""
        self._wait(did, _GONE)

    async def run(self) -> None:
        """Write what gathers, a batch every few seconds; an error of the file ends it and is raised."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(FLUSH_SECONDS)
            self._woken.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write what has gathered so far."""
        pending, used = dict(self._pending), self._used
        self._used = {}
        if pending or used:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, pending, used)
            for did, value in pending.items():
                if self._pending.get(did, ()) is value:
                    del self._pending[did]

    async def close(self) -> None:
        await self.flush()
        self._thread.shutdown()
        self._reader.close()
        self._writer.close()

    def _wait(self, did: str, value: tuple[bytes, int] | None) -> None:
        if did not in self._pending and len(self._pending) >= PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        self._pending[did] = value
        self._woken.set()

    def _write(self, pending: dict[str, tuple[bytes, int] | None], used: dict[str, int]) -> None:
        con = self._writer
        with con:
            con.executemany("UPDATE documents SET used=? WHERE did=?", [(at, did) for did, at in used.items()])
            before = con.total_changes()
            con.executemany("DELETE FROM documents WHERE did=?", [(did,) for did in pending])
            made = [(did, raw[0], raw[1], raw[1]) for did, raw in pending.items() if raw is not None]
            rows = self.rows - (con.total_changes() - before) + len(made)
            con.executemany("INSERT INTO documents VALUES(?, ?, ?, ?)", made)
            if rows > self._most:
                con.execute(
                    "DELETE FROM documents WHERE did IN (SELECT did FROM documents ORDER BY used LIMIT ?)",
                    (rows - self._most,),
                )
                self.evicted += rows - self._most
                rows = self._most
        self.rows = rows


def _rows(con: apsw.Connection, sql: str, arguments: tuple[Any, ...] = ()) -> list[Any]:
    return con.execute(sql, arguments).fetchall()


def _open(path: Path) -> tuple[apsw.Connection, apsw.Connection]:
    """Writer and reader; a file that is no such cache is made anew."""
    try:
        return _connect(path)
    except (apsw.Error, _ForeignError) as error:
        if isinstance(error, apsw.BusyError | apsw.CantOpenError | apsw.FullError | apsw.ReadOnlyError):
            raise
        _log.warning("the identities on disk are unusable and are asked for anew", file=str(path), cause=str(error))
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _connect(path)


class _ForeignError(Exception):
    """A format of another version."""


def _connect(path: Path) -> tuple[apsw.Connection, apsw.Connection]:
    opened = []
    try:
        for _ in range(2):
            con = apsw.Connection(str(path))
            opened.append(con)
            con.set_busy_timeout(5000)
            con.execute("PRAGMA journal_mode=WAL")
            con.execute("PRAGMA synchronous=NORMAL")
            con.execute(_TABLES)
        with opened[0]:
            opened[0].execute("INSERT OR IGNORE INTO meta VALUES('format', ?)", (FORMAT,))
        ((found,),) = _rows(opened[0], "SELECT value FROM meta WHERE key='format'")
        ((whole,),) = _rows(opened[0], "PRAGMA quick_check(1)")
        _expect(found, whole)
    except BaseException:
        for con in opened:
            con.close()
        raise
    return opened[0], opened[1]


def _expect(found: int, whole: str) -> None:
    if found != FORMAT or whole != "ok":
        raise _ForeignError(f"format {found}, expected {FORMAT}; quick_check says {whole}")
