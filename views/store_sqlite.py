"""The store in one SQLite file, on the event loop; only large commits and checkpoints go to a thread.

WAL with synchronous=NORMAL: a power cut may lose the newest batches whole, and they are read from the log again,
because progress is in the same transaction. Does not own the file's place nor when to build a new one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import apsw

from schemas import crash
from schemas.errors import InvariantError
from schemas.timings import Timings
from views import sqlite_sql as sql
from views.store import Batch, Progress
from views.table import Key, Row, Table

# Statements are cached by their text, so the number of keys is padded to one of these (with NULLs, equal to nothing).
_SIZES = (1, 4, 8, 16, 24, 32, 40, 48, 64, 96, 128, 256)
_LARGEST = _SIZES[-1]
_PADDED = tuple(next(size for size in _SIZES if size >= n) for n in range(1, _LARGEST + 1))

_SLICE_SECONDS = 0.002  # the longest stretch of writing between two turns of the loop
_CHUNK = 64
_COMMIT_IN_THREAD = 100  # rows from which a commit's page writes outweigh the two hand-offs (create_record_c32 x1.15)
_CHECKPOINT_PAGES = 8_000
_HOLD_PAGES = 50_000


class SqliteStore:
    """`views.store.Store`. HOT. One writer: `apply` is never entered twice at once."""

    def __init__(self, path: Path, tables: Sequence[Table], *, cache_mib: int = 48) -> None:
        self._path = str(path)
        self._writer = _connect(self._path, cache_mib)
        self._create(tables)
        self._reader = _connect(self._path, cache_mib // 3)
        # Between batches the writer's own cache is the warm one; while a batch is open only the other sees no half.
        self._current = self._writer
        self._statements: dict[tuple[Any, ...], str] = {}
        self._wal_pages = 0
        self.commits = Timings()
        self._checkpoint: asyncio.Task[None] | None = None
        self._writer.set_wal_hook(self._on_commit)
        self._vector = {(t, s): o for t, s, o in self._writer.execute("SELECT topic, shard, offset FROM progress")}
        self._marks = {
            (hop, shard, topic, source): (offset, index)
            for hop, shard, topic, source, offset, index in self._writer.execute("SELECT * FROM marks")
        }
        self._progress = Progress(dict(self._vector), dict(self._marks))

    def _create(self, tables: Sequence[Table]) -> None:
        declared = "\n".join(statement for table in tables for statement in sql.create(table))
        with self._writer:
            self._writer.execute("CREATE TABLE IF NOT EXISTS declared (sql TEXT)")
            found = self._writer.execute("SELECT sql FROM declared").get
            if found is None:
                self._writer.execute("INSERT INTO declared VALUES (?)", (declared,))
            elif found != declared:
                raise InvariantError(
                    f"{self._path} holds views of another shape: stop, move it away and start; they are built again"
                )
            for table in tables:
                for statement in sql.create(table):
                    self._writer.execute(statement)
            self._writer.execute(
                "CREATE TABLE IF NOT EXISTS progress"
                " (topic TEXT, shard INTEGER, offset INTEGER, PRIMARY KEY (topic, shard)) WITHOUT ROWID"
            )
            self._writer.execute(
                "CREATE TABLE IF NOT EXISTS marks (hop TEXT, shard INTEGER, topic TEXT, source INTEGER, offset INTEGER,"
                " idx INTEGER, PRIMARY KEY (hop, shard, topic, source)) WITHOUT ROWID"
            )

    async def get_many(self, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        if not keys:
            return []
        width = len(keys[0])
        if len(keys) == 1:
            return [self._current.execute(self._get_many_sql(table, width, 1), keys[0]).fetchone()]
        found: dict[Key, Row] = {}
        for rows in self._lookup(keys, width, lambda size: self._get_many_sql(table, width, size)):
            for row in rows:
                found[row[:width]] = row
        get = found.get
        return [get(key) for key in keys]

    async def statics(self, table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        if not partitions:
            return []
        width = table.partition_size
        if len(partitions) == 1:
            row = self._current.execute(self._statics_sql(table, 1), partitions[0]).fetchone()
            return [None if row is None else row[width:]]
        found: dict[Key, Row] = {}
        for rows in self._lookup(partitions, width, lambda size: self._statics_sql(table, size)):
            for row in rows:
                found[row[:width]] = row[width:]
        get = found.get
        return [get(key) for key in partitions]

    def _lookup(self, keys: Sequence[Key], width: int, statement: Callable[[int], str]) -> Iterator[list[Row]]:
        execute = self._current.execute
        for start in range(0, len(keys), _LARGEST):
            part = keys[start : start + _LARGEST]
            count = len(part)
            size = _PADDED[count - 1]
            values: list[Any] = [key[0] for key in part] if width == 1 else list(chain.from_iterable(part))
            if size != count:
                values += [None] * ((size - count) * width)
            yield execute(statement(size), values).fetchall()

    async def slice(
        self,
        table: Table,
        partition: Key,
        *,
        after: Key | None = None,
        until: Key | None = None,
        limit: int,
        reverse: bool = False,
    ) -> list[Row]:
        after = after or ()
        until = until or ()
        key = (table.name, len(partition), len(after), len(until), reverse)
        statement = self._statements.get(key)
        if statement is None:
            statement = sql.slice_(table, len(partition), len(after), len(until), reverse=reverse)
            self._statements[key] = statement
        return self._current.execute(statement, (*partition, *after, *until, limit)).fetchall()

    async def progress(self) -> Progress:
        return self._progress

    async def apply(self, batch: Batch) -> None:
        if self._wal_pages >= _HOLD_PAGES:
            self._start_checkpoint()
        if self._checkpoint is not None and self._wal_pages >= _HOLD_PAGES:
            await self._checkpoint
        writer = self._writer
        rows = sum(len(rows) for partitions in batch.rows.values() for rows in partitions.values())
        rows += sum(map(len, batch.statics.values()))
        writer.execute("BEGIN IMMEDIATE")
        self._current = self._reader
        try:
            if rows > _CHUNK:
                await self._write_in_turns(batch)
            else:
                for statement, bindings in _writes(batch):
                    writer.executemany(statement, bindings)
            self._write_progress(batch)
            crash.point("views.mid_commit")
            begun = time.perf_counter()
            if rows >= _COMMIT_IN_THREAD:
                await asyncio.to_thread(writer.execute, "COMMIT")
            else:
                writer.execute("COMMIT")
            self.commits.took(time.perf_counter() - begun)
        except BaseException:
            if not writer.get_autocommit():
                writer.execute("ROLLBACK")
            raise
        finally:
            self._current = writer
        self._vector.update(batch.vector)
        self._marks.update(batch.marks)
        self._progress = Progress(dict(self._vector), dict(self._marks))
        if self._wal_pages >= _CHECKPOINT_PAGES:
            self._start_checkpoint()

    async def _write_in_turns(self, batch: Batch) -> None:
        executemany = self._writer.executemany
        clock = time.perf_counter
        turn = clock()
        for statement, bindings in _writes(batch):
            executemany(statement, bindings)
            if clock() - turn >= _SLICE_SECONDS:
                await asyncio.sleep(0)
                turn = clock()

    def _write_progress(self, batch: Batch) -> None:
        self._writer.executemany(
            "INSERT OR REPLACE INTO progress VALUES (?, ?, ?)",
            [(topic, shard, offset) for (topic, shard), offset in batch.vector.items()],
        )
        self._writer.executemany(
            "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?, ?)",
            [(*key, *mark) for key, mark in batch.marks.items()],
        )

    def _on_commit(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _start_checkpoint(self) -> None:
        if self._checkpoint is not None and self._checkpoint.done():
            self._checkpoint.result()
            self._checkpoint = None
        if self._checkpoint is None:
            self._checkpoint = asyncio.create_task(asyncio.to_thread(self._run_checkpoint))

    def _run_checkpoint(self) -> None:
        connection = apsw.Connection(self._path)
        try:
            connection.execute("PRAGMA schema_version").get  # noqa: B018 - opens the file: before, it seems to have no WAL
            frames, done = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if frames == done:
                self._wal_pages = 0
        finally:
            connection.close()

    async def close(self) -> None:
        if self._checkpoint is not None:
            await asyncio.wait([self._checkpoint])
        self._reader.close()
        self._writer.close()

    def scan(self, table: Table) -> Iterator[Row]:
        """Every row in key order: for digests, not for readers (no other store could answer this)."""
        return iter(self._current.execute(sql.scan(table)))

    def scan_statics(self, table: Table) -> Iterator[Row]:
        return iter(self._current.execute(sql.scan_statics(table)))

    def _get_many_sql(self, table: Table, width: int, size: int) -> str:
        key = (table.name, width, size)
        statement = self._statements.get(key)
        if statement is None:
            if not table.key_size - 1 <= width <= table.key_size or width < table.partition_size:
                raise InvariantError(f"{table.name} is not looked up by {width} of its {table.key_size} key columns")
            statement = self._statements[key] = sql.get_many(table, width, size)
        return statement

    def _statics_sql(self, table: Table, size: int) -> str:
        key = (table.name, size)
        statement = self._statements.get(key)
        if statement is None:
            statement = self._statements[key] = sql.statics(table, size)
        return statement


def _writes(batch: Batch) -> Iterator[tuple[str, list[Any]]]:
    """Statements, each with a few bindings, in the order of partitions: neighbours touch the same pages."""
    for table, partitions in batch.rows.items():
        put, delete = sql.put(table), sql.delete(table)
        puts: list[Row] = []
        deletes: list[Key] = []
        for partition in sorted(partitions):
            rows = partitions[partition].values()
            if None in rows:
                deletes += [partition + key for key, row in partitions[partition].items() if row is None]
                puts += [row for row in rows if row is not None]
            else:
                puts += rows  # type: ignore[arg-type]
            if len(puts) >= _CHUNK:
                yield put, puts
                puts = []
        for start in range(0, len(deletes), _CHUNK):
            yield delete, deletes[start : start + _CHUNK]
        if puts:
            yield put, puts
    for table, statics in batch.statics.items():
        values = [partition + statics[partition] for partition in sorted(statics)]
        for start in range(0, len(values), _CHUNK):
            yield sql.put_statics(table), values[start : start + _CHUNK]


def _connect(path: str, cache_mib: int) -> apsw.Connection:
    connection = apsw.Connection(path, statementcachesize=256)
    connection.set_busy_timeout(5_000)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_HOLD_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{cache_mib * 1024}")
    return connection
