"""The tables of the one file that holds a log, and how it is opened.

Ids are `shard << 44 | offset`, so that one table holds all shards and a shard is one range. A frame's bytes are stored
once, in `commits`; `firehose` refers to them. A record's bytes are stored twice while its commit is kept (72 h), since
`records` outlives `commits`. `repo_index` holds only where a live record stands: its CID and first_time are there.
Does not own what is written (`ingest.log_sqlite.batch`) or dropped (`ingest.log_truncate`).
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import apsw

from schemas.errors import InvariantError

FORMAT = 1
SHARD_BITS = 44
OFFSET_MASK = (1 << SHARD_BITS) - 1

_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE commits(id INTEGER PRIMARY KEY, time INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE records(
  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, account INTEGER, path TEXT, cid BLOB, value BLOB, rev TEXT,
  first_time INTEGER, time INTEGER NOT NULL, replaces INTEGER);
CREATE TABLE firehose(
  seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, source INTEGER, kind TEXT, did TEXT, head BLOB, tail BLOB);
CREATE TABLE heads(
  account INTEGER PRIMARY KEY, did TEXT NOT NULL UNIQUE, rev TEXT, head_at INTEGER, account_at INTEGER,
  status TEXT NOT NULL, handle TEXT, partial INTEGER NOT NULL, taken_down INTEGER NOT NULL,
  verified_at INTEGER NOT NULL);
CREATE TABLE repo_index(
  account INTEGER NOT NULL, path TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY(account, path)) WITHOUT ROWID;
CREATE TABLE takedowns(uri TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE expansions(
  shard INTEGER PRIMARY KEY, source INTEGER NOT NULL, chunk INTEGER NOT NULL, op INTEGER NOT NULL);
"""

# Made where it is missing: directories are older than it. A key is there once: it is compacted as it is written.
_OPERATIONS = """
CREATE TABLE IF NOT EXISTS operations(
  id INTEGER PRIMARY KEY, did TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, value BLOB,
  time INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS operations_by_key ON operations(did, kind, subject);
"""


def open_writer(path: Path, *, shards: int, first_seq: int) -> apsw.Connection:
    """Open or create the log. Durable: WAL, and an fsync at every commit. Raises InvariantError on another N."""
    con = apsw.Connection(str(path))
    con.set_busy_timeout(5000)
    con.execute("PRAGMA page_size=8192")
    con.execute("PRAGMA journal_mode=WAL")
    con.execute("PRAGMA synchronous=FULL")
    con.execute("PRAGMA cache_size=-16384")
    con.execute("PRAGMA wal_autocheckpoint=0")  # see `checkpoint.py`
    con.execute("PRAGMA journal_size_limit=67108864")
    if not con.execute("SELECT 1 FROM sqlite_schema WHERE name='meta'").fetchall():
        with con:
            con.execute(_TABLES)
            con.executemany(
                "INSERT INTO meta VALUES(?, ?)", (("format", FORMAT), ("shards", shards), ("next_seq", first_seq))
            )
    with con:
        con.execute(_OPERATIONS)
        # A name that no other log has, so that what was computed from this one is not taken for another's.
        con.execute("INSERT OR IGNORE INTO meta VALUES('id', ?)", (secrets.randbits(62),))
    for key, wanted in (("format", FORMAT), ("shards", shards)):
        found = meta(con, key)
        if found != wanted:
            raise InvariantError(
                f"{path}: {key} is {found}, expected {wanted}; it is fixed when a log is created: "
                "go back to that setting, or start a new log and replay into it"
            )
    return con


def open_reader(path: Path) -> apsw.Connection:
    """A second connection: it sees what is committed while a commit is under way."""
    con = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    con.set_busy_timeout(5000)
    con.execute("PRAGMA cache_size=-16384")
    return con


def id_of(path: Path) -> str:
    """The name of the log at `path`, which has been opened before."""
    con = open_reader(path)
    try:
        return f"{meta(con, 'id'):016x}"
    finally:
        con.close()


def rows_of(con: apsw.Connection, sql: str, arguments: tuple[Any, ...] = ()) -> list[Any]:
    """All rows at once: a statement left open would hold back the file's checkpoints."""
    return con.execute(sql, arguments).fetchall()


def meta(con: apsw.Connection, key: str) -> int | None:
    """One number of `meta`."""
    rows = rows_of(con, "SELECT value FROM meta WHERE key=?", (key,))
    return int(rows[0][0]) if rows else None


def set_meta(con: apsw.Connection, key: str, value: int) -> None:
    con.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))


def newest(con: apsw.Connection, table: str, shard: int) -> int:
    """The newest offset of a shard still in `table`; 0 if there is none."""
    low, high = shard << SHARD_BITS, (shard + 1) << SHARD_BITS
    rows = rows_of(con, f"SELECT max(id) FROM {table} WHERE id>=? AND id<?", (low, high))  # noqa: S608
    return int(rows[0][0]) & OFFSET_MASK if rows[0][0] is not None else 0
