"""One account's own SQLite file: its MST nodes, records and blob references, as of one signed commit.

A view of the log: written from the overlay about once a second, never fsynced at commit, checked against the log when
it is opened and rebuilt from it when it is behind or lost (rebuild.py). Does not own the overlay (head.py) nor how
many files are open (account_files.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import apsw
import msgspec

from ingest.pds.secrets import private_file
from schemas import crash
from schemas.cid import Cid
from schemas.tid import Tid

VERSION = 1
_CACHE_KB = 128  # of each open file: a busy one fills it; four times as much saved a write 2 us of CPU at most

_TABLES = """
CREATE TABLE root (one INTEGER PRIMARY KEY CHECK (one = 1), rev TEXT, data BLOB, cid BLOB, block BLOB, offset INTEGER);
CREATE TABLE nodes (cid BLOB PRIMARY KEY, rev TEXT NOT NULL, block BLOB NOT NULL);
CREATE TABLE records (path TEXT PRIMARY KEY, cid BLOB NOT NULL, rev TEXT NOT NULL, value BLOB NOT NULL);
CREATE INDEX records_by_cid ON records (cid);
CREATE TABLE blob_refs (cid BLOB NOT NULL, path TEXT NOT NULL, PRIMARY KEY (cid, path)) WITHOUT ROWID;
"""


class Root(msgspec.Struct, frozen=True):
    """Where the repo stands: the signed commit, its block, and the log offset it is taken from."""

    rev: Tid
    data: Cid
    cid: Cid
    block: bytes
    offset: int


class Stored(msgspec.Struct, frozen=True):
    """A record as it is kept."""

    cid: Cid
    rev: str
    value: bytes


class Flush(msgspec.Struct, frozen=True):
    """What turns the file's state into the overlay's; a record of None is a deletion.

    Without a root only records and references are written (a rebuild in pages, whose root comes last).
    """

    root: Root | None
    nodes_added: Mapping[bytes, bytes]
    nodes_removed: Iterable[bytes]
    records: Mapping[str, Stored | None]
    refs_added: Iterable[tuple[bytes, str]]
    refs_removed: Iterable[tuple[bytes, str]]


class AccountFile:
    """Synchronous: every call is a few rows. One transaction a flush."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        private_file(path)
        db = self._db = apsw.Connection(str(path))
        db.set_busy_timeout(10_000)
        for pragma in (f"cache_size = -{_CACHE_KB}", "journal_mode = WAL", "synchronous = NORMAL"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        version = db.pragma("user_version")
        if version == 0:
            with db:
                db.execute(_TABLES)
                db.pragma("user_version", VERSION)
        elif version != VERSION:
            # It is a view: an older or newer shape is dropped and rebuilt from the log.
            db.close()
            remove(path)
            self.__init__(path)  # type: ignore[misc]

    def close(self) -> None:
        self._db.close()

    # --- reads ---

    def root(self) -> Root | None:
        return _root(self._db)

    def node(self, cid: bytes) -> bytes:
        """Raises KeyError when it is absent. HOT."""
        rows = self._read("SELECT block FROM nodes WHERE cid = ?", (cid,))
        if not rows:
            raise KeyError(cid)
        return rows[0][0]  # type: ignore[no-any-return]

    def record(self, path: str) -> Stored | None:
        rows = self._read("SELECT cid, rev, value FROM records WHERE path = ?", (path,))
        return Stored(Cid(rows[0][0]), rows[0][1], rows[0][2]) if rows else None

    def record_block(self, cid: bytes) -> bytes | None:
        rows = self._read("SELECT value FROM records WHERE cid = ? LIMIT 1", (cid,))
        return rows[0][0] if rows else None

    def records(
        self, collection: str, *, after: str | None, before: str | None, limit: int, newest_first: bool
    ) -> list[tuple[str, Cid, bytes]]:
        """(path, cid, value) of one collection between two rkeys, both exclusive."""
        low = f"{collection}/{after}\x00" if after is not None else f"{collection}/"
        high = f"{collection}/{before}" if before is not None else f"{collection}0"
        order = "DESC" if newest_first else "ASC"
        rows = self._read(
            f"SELECT path, cid, value FROM records WHERE path >= ? AND path < ? ORDER BY path {order} LIMIT ?",  # noqa: S608
            (low, high, limit),
        )
        return [(path, Cid(cid), value) for path, cid, value in rows]

    def paths(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """(path, cid) in byte order."""
        return self._read("SELECT path, cid FROM records WHERE path > ? ORDER BY path LIMIT ?", (after, limit))

    def collections(self) -> list[str]:
        """Found by skipping from one to the next, so that it costs as many reads as there are collections."""
        found: list[str] = []
        after = ""
        while rows := self._read("SELECT path FROM records WHERE path >= ? ORDER BY path LIMIT 1", (after,)):
            found.append(rows[0][0].partition("/")[0])
            after = found[-1] + "0"  # "0" is the character after "/"
        return found

    def snapshot(self) -> Snapshot:
        """The file as it is now, whatever is written meanwhile."""
        return Snapshot(self.path)

    def counts(self) -> tuple[int, int, int]:
        """(nodes, records, blobs referred to)."""
        row = self._read(
            "SELECT (SELECT count(*) FROM nodes), (SELECT count(*) FROM records),"
            " (SELECT count(DISTINCT cid) FROM blob_refs)"
        )[0]
        return row[0], row[1], row[2]

    def refers_to(self, cid: bytes) -> list[str]:
        return [path for (path,) in self._read("SELECT path FROM blob_refs WHERE cid = ?", (cid,))]

    def blob_refs(self, after: bytes, since: str | None, limit: int) -> list[tuple[bytes, str]]:
        """(cid, one path that refers to it) of blobs above `after`, in order, of records newer than `since`."""
        return self._read(
            "SELECT b.cid, min(b.path) FROM blob_refs b JOIN records r ON r.path = b.path"
            " WHERE b.cid > ? AND r.rev > ? GROUP BY b.cid ORDER BY b.cid LIMIT ?",
            (after, since or "", limit),
        )

    def _read(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        return self._db.execute(sql, bindings).fetchall()

    # --- writes ---

    def flush(self, flush: Flush) -> None:
        """All of it in one transaction. HOT: runs on the loop, about once a second an account."""
        root, db = flush.root, self._db
        with db:
            execute, many = db.execute, db.executemany
            many("DELETE FROM nodes WHERE cid = ?", [(cid,) for cid in flush.nodes_removed])
            if root is not None:
                rev = root.rev
                many(
                    "INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)",
                    [(cid, rev, block) for cid, block in flush.nodes_added.items()],
                )
            crash.point("pds.mid_flush")
            many(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)",
                [(path, r.cid.raw, r.rev, r.value) for path, r in flush.records.items() if r is not None],
            )
            many("DELETE FROM records WHERE path = ?", [(path,) for path, r in flush.records.items() if r is None])
            many("DELETE FROM blob_refs WHERE cid = ? AND path = ?", flush.refs_removed)
            many("INSERT OR IGNORE INTO blob_refs VALUES (?, ?)", flush.refs_added)
            if root is not None:
                execute(
                    "INSERT OR REPLACE INTO root VALUES (1, ?, ?, ?, ?, ?)",
                    (root.rev, root.data.raw, root.cid.raw, root.block, root.offset),
                )


class Snapshot:
    """One state of an account's file, read on a connection of its own. Close it."""

    def __init__(self, path: Path) -> None:
        self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        self._db.set_busy_timeout(10_000)
        self._db.execute("BEGIN")
        self._root = _root(self._db)  # the first read fixes the state

    def root(self) -> Root | None:
        return self._root

    def nodes_since(self, rev: str) -> Iterator[tuple[bytes, bytes]]:
        yield from self._pages("SELECT rowid, cid, block FROM nodes WHERE rowid > ? AND rev > ? ORDER BY rowid", rev)

    def records_since(self, rev: str) -> Iterator[tuple[bytes, bytes]]:
        yield from self._pages("SELECT rowid, cid, value FROM records WHERE rowid > ? AND rev > ? ORDER BY rowid", rev)

    def _pages(self, sql: str, rev: str) -> Iterator[tuple[bytes, bytes]]:
        """In pages, so that no statement stays open while others write."""
        last = -1
        while True:
            rows: list[Any] = self._db.execute(sql + " LIMIT 200", (last, rev)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            for _, cid, block in rows:
                yield cid, block

    def close(self) -> None:
        self._db.close()


def _root(db: apsw.Connection) -> Root | None:
    found: list[Any] = db.execute("SELECT rev, data, cid, block, offset FROM root").fetchall()
    if not found:
        return None
    rev, data, cid, block, offset = found[0]
    return Root(Tid(rev), Cid(data), Cid(cid), block, offset)


def remove(path: Path) -> None:
    """Delete a closed file and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
