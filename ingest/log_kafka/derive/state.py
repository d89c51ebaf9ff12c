"""What derive knows of one shard, in a SQLite file: heads, and the live paths of every repo.

A cache of `records`, complete to one offset of it: advanced only after the transaction that it follows from has
committed, caught up from there, and made anew from nothing when it is lost or belongs to another topic. So it need not
survive a power cut, only be of one piece. Does not own what it says (`ingest.log_kafka.derive.overlay`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec

from ingest.derive import Known, Place
from ingest.log import Head
from ingest.log_kafka.derive.overlay import Overlay
from schemas.cid import Cid
from schemas.errors import InvariantError
from schemas.records_codec import DerivePlace
from schemas.syntax import Did, Handle
from schemas.tid import Tid

_FORMAT = 1
_TABLES = """
CREATE TABLE meta(format INTEGER, topic TEXT, at INTEGER, place BLOB);
CREATE TABLE accounts(
  number INTEGER PRIMARY KEY, did TEXT NOT NULL UNIQUE, rev TEXT, data BLOB, head BLOB, head_at INTEGER,
  account_at INTEGER, status TEXT NOT NULL, handle TEXT, partial INTEGER NOT NULL, taken_down INTEGER NOT NULL,
  verified_at INTEGER NOT NULL);
CREATE TABLE paths(
  account INTEGER NOT NULL, path TEXT NOT NULL, n INTEGER NOT NULL, first_time INTEGER NOT NULL,
  PRIMARY KEY(account, path)) WITHOUT ROWID;
"""
_PUT_ACCOUNT = (
    "INSERT INTO accounts(did, rev, data, head, head_at, account_at, status, handle, partial, taken_down, verified_at) "
    "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(did) DO UPDATE SET rev=excluded.rev, data=excluded.data, "
    "head=excluded.head, head_at=excluded.head_at, account_at=excluded.account_at, status=excluded.status, "
    "handle=excluded.handle, partial=excluded.partial, taken_down=excluded.taken_down, "
    "verified_at=excluded.verified_at"
)
_ACCOUNT = (
    "SELECT number, rev, data, head, head_at, account_at, status, handle, partial, taken_down, verified_at "
    "FROM accounts WHERE did=?"
)
_LIVE = "SELECT path, n, first_time FROM paths WHERE account=? ORDER BY path LIMIT ?"
_PUT_PATH = "INSERT OR REPLACE INTO paths(account, path, n, first_time) VALUES(?, ?, ?, ?)"


class ShardFile:
    """Derive's committed `State`. `at` is the offset of `records` it is complete to, `place` where it stands."""

    def __init__(self, path: Path, topic: str, max_accounts: int = 8192) -> None:
        """Open or create; `topic` is the id of the topic that it is made from."""
        self._path = path
        self._max_accounts = max_accounts
        self._known: dict[str, tuple[int, Known]] = {}
        self._con = con = apsw.Connection(str(path))
        con.set_busy_timeout(5000)
        con.execute("PRAGMA journal_mode=WAL")
        con.execute("PRAGMA synchronous=NORMAL")
        con.execute("PRAGMA cache_size=-16384")
        if not con.execute("SELECT 1 FROM sqlite_schema WHERE name='meta'").fetchall():
            with con:
                con.execute(_TABLES)
                con.execute("INSERT INTO meta VALUES(?, ?, 0, ?)", (_FORMAT, topic, _place_bytes(DerivePlace())))
        ((found, of, at, place),) = self._rows("SELECT format, topic, at, place FROM meta")
        if found != _FORMAT:
            raise InvariantError(
                f"{path}: format {found}, expected {_FORMAT}: remove it, and it is made from `records`"
            )
        self.at: int = at
        self.place_in_commits = _place_of(place)
        if of != topic:
            self.forget(topic)

    def known(self, did: str) -> Known | None:
        """HOT."""
        return self._load(did)[1]

    def place(self, did: str, path: str) -> Place | None:
        """HOT."""
        number = self._load(did)[0]
        sql = "SELECT n, first_time FROM paths WHERE account=? AND path=?"
        rows = self._rows(sql, number, path) if number else []
        return rows[0] if rows else None

    def live(self, did: str, limit: int) -> list[tuple[str, Place]]:
        return [(path, (n, first)) for path, n, first in self._rows(_LIVE, self._load(did)[0], limit)]

    def takedown_at(self, uri: str) -> int | None:  # noqa: ARG002 - a State's
        return None

    def take(self, changed: Overlay, place: DerivePlace, at: int) -> None:
        """What was changed is committed in `records` up to `at`.

        Raises InvariantError when another owner has written here.
        """
        con = self._con
        con.execute("BEGIN IMMEDIATE")
        with _Transaction(con):
            ((found,),) = self._rows("SELECT at FROM meta")
            if found != self.at:
                raise InvariantError(
                    f"{self._path} is at {found}, expected {self.at}: another process has this shard; this one ends"
                )
            con.executemany(_PUT_ACCOUNT, [_row(did, known) for did, known in changed.known_here.items()])
            for did, known in changed.known_here.items():
                number, _ = self._known.pop(did, (0, None))
                if number:
                    self._known[did] = (number, known)
            puts, drops = [], []
            for did, paths in changed.places.items():
                number = self._number(did)
                for path, found_at in paths.items():
                    if found_at is None:
                        drops.append((number, path))
                    else:
                        puts.append((number, path, *found_at))
            con.executemany(_PUT_PATH, puts)
            con.executemany("DELETE FROM paths WHERE account=? AND path=?", drops)
            con.execute("UPDATE meta SET at=?, place=?", (at, _place_bytes(place)))
        self.at, self.place_in_commits = at, place

    def forget(self, topic: str) -> None:
        """Begin from nothing."""
        with self._con as con:
            con.execute("DELETE FROM accounts; DELETE FROM paths")
            con.execute("UPDATE meta SET topic=?, at=0, place=?", (topic, _place_bytes(DerivePlace())))
        self.at, self.place_in_commits = 0, DerivePlace()
        self._known.clear()

    def close(self) -> None:
        self._con.close()

    def _rows(self, sql: str, *arguments: object) -> list[Any]:
        """All at once: a statement left open would hold back the file's checkpoints."""
        return self._con.execute(sql, arguments).fetchall()

    def _number(self, did: str) -> int:
        """The account's row; a path may be restored before its account's messages are."""
        number = self._load(did)[0]
        if not number:
            self._con.execute(_PUT_ACCOUNT, _row(did, Known(Head(Did(did)))))
            number = self._load(did)[0]
        return number

    def _load(self, did: str) -> tuple[int, Known | None]:
        """(row, what is known), (0, None) for an account never heard of; the newest are kept in memory."""
        found = self._known.get(did)
        if found is not None:
            return found
        rows = self._rows(_ACCOUNT, did)
        if not rows:
            return 0, None
        number, rev, data, commit, head_at, account_at, status, handle, partial, taken_down, verified_at = rows[0]
        head = Head(
            Did(did),
            rev and Tid(rev),
            data and Cid(data),
            commit and Cid(commit),
            None,
            status,
            handle and Handle(handle),
            bool(partial),
            bool(taken_down),
            verified_at,
        )
        if len(self._known) >= self._max_accounts:
            for old in list(self._known)[: self._max_accounts // 8 + 1]:
                del self._known[old]
        self._known[did] = found = (number, Known(head, head_at, account_at))
        return found


class _Transaction:
    """Commits what was begun, or rolls it back."""

    def __init__(self, con: apsw.Connection) -> None:
        self._con = con

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, *_: object) -> None:
        self._con.execute("COMMIT" if kind is None else "ROLLBACK")


def _row(did: str, known: Known) -> tuple[Any, ...]:
    head = known.head
    data, commit = (None if cid is None else cid.raw for cid in (head.data, head.commit))
    marks = (head.partial, head.taken_down, head.verified_at)
    return (did, head.rev, data, commit, known.head_at, known.account_at, head.status, head.handle, *marks)


def _place_bytes(place: DerivePlace) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.astuple(place))


def _place_of(data: bytes) -> DerivePlace:
    return DerivePlace(*msgspec.msgpack.decode(data))
