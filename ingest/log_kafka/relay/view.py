"""What a relay knows of every account of the log, in a SQLite file beside it: heads, and live paths with their CIDs.

A view of `records`: each page in one transaction with the offset that it makes the file complete to and the place in
`commits` that derive has come to by then. One that a power cut set back is caught up from there; one that is lost,
belongs to other topics or is older than tombstones are surely kept is made anew. Does not own how it follows
(`ingest.log_kafka.relay.follow`).
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec

from ingest.log import Head
from ingest.log_kafka.heads import decode_head, encode_head, learn
from schemas.entries import AccountEntry, HeadEntry, RecordEntry
from schemas.errors import InvariantError
from schemas.records_codec import AccountState, Content, DerivePlace, HeadGone, StateOnly
from schemas.syntax import Did

FILE = "relay-log.sqlite"
VERSION = 1
STALE_SECONDS = 7 * 86_400
"""Half of what tombstones are kept for: an older file may hold what was deleted meanwhile, and begins from nothing."""
_CACHED = 20_000
_TABLES = """
CREATE TABLE meta(cluster TEXT NOT NULL, topic TEXT NOT NULL, shards INTEGER NOT NULL, saved INTEGER NOT NULL,
  relay TEXT NOT NULL);
CREATE TABLE progress(shard INTEGER PRIMARY KEY, at INTEGER NOT NULL, done INTEGER NOT NULL);
CREATE TABLE accounts(number INTEGER PRIMARY KEY, did TEXT NOT NULL UNIQUE, head BLOB NOT NULL);
CREATE TABLE paths(
  account INTEGER NOT NULL, path TEXT NOT NULL, cid BLOB NOT NULL, PRIMARY KEY(account, path)) WITHOUT ROWID;
"""
_PUT_ACCOUNT = "INSERT INTO accounts(did, head) VALUES(?, ?) ON CONFLICT(did) DO UPDATE SET head=excluded.head"
_CIDS = "SELECT path, cid FROM paths WHERE account=? AND path>? ORDER BY path LIMIT ?"

Read = tuple[Content, AccountState | None]
"""A message of `records`, as `schemas.records_codec.read` gives it."""


class Kept(NamedTuple):
    """Whose view a file holds, and the unix second in which it was last written to."""

    cluster: str
    shards: int
    saved: int


def kept(path: Path) -> Kept:
    """Changes nothing. Raises InvariantError for another version's."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        _check_version(path, db.pragma("user_version"))
        rows: list[Any] = db.execute("SELECT cluster, shards, saved FROM meta").fetchall()
        return Kept(*rows[0])
    finally:
        db.close()


class RelayView:
    """Synchronous: a few rows a question, a page of rows a transaction, on the loop.

    `at`: by shard, the offset of `records` it is complete to; `done`: the offset of `commits` that is derived by then;
    `relay`: the name that this file's relay writes under.
    """

    def __init__(self, path: Path, *, cluster: str, topic: str, shards: int, now: float | None = None) -> None:
        """Open or create; `topic` is the id of `records`. Raises InvariantError for another cluster's or version's."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._now = time.time if now is None else lambda: now
        self._cache: OrderedDict[str, Head | None] = OrderedDict()
        self.at, self.done = [0] * shards, [0] * shards
        self.relay = ""
        self._db = apsw.Connection(str(path))
        try:
            kept, saved = self._opened(path, cluster, topic, shards)
        except BaseException:
            self._db.close()
            raise
        for shard, at, done in self._rows("SELECT shard, at, done FROM progress"):
            self.at[shard], self.done[shard] = at, done
        if kept != topic or self._now() - saved > STALE_SECONDS:
            self.forget(topic)

    def _opened(self, path: Path, cluster: str, topic: str, shards: int) -> tuple[str, int]:
        """The topic that it is made from, and when it was saved."""
        db = self._db
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -16384"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        if db.pragma("user_version") == 0:
            with db:
                db.execute(_TABLES)
                made = (cluster, topic, shards, int(self._now()), secrets.token_hex(8))
                db.execute("INSERT INTO meta VALUES(?, ?, ?, ?, ?)", made)
                db.pragma("user_version", VERSION)
        _check_version(path, db.pragma("user_version"))
        ((of, kept, count, saved, self.relay),) = self._rows("SELECT cluster, topic, shards, saved, relay FROM meta")
        if (of, count) != (cluster, shards):
            raise InvariantError(
                f"{path}: expected the heads of cluster {cluster!r} with {shards} shards, found {of!r} with {count}: "
                "give this relay its own directory, or the settings that it was made with"
            )
        return kept, saved

    def head(self, did: str) -> Head | None:
        """HOT: as derived up to here, without its commit block."""
        cache = self._cache
        if did in cache:
            cache.move_to_end(did)
            return cache[did]
        rows = self._rows("SELECT head FROM accounts WHERE did=?", did)
        return self._keep(did, decode_head(did, rows[0][0]) if rows else None)

    def cids(self, did: str, after: str = "", limit: int = 1000) -> list[tuple[str, bytes]]:
        """(path, binary CID) of live records above `after`, in byte order."""
        rows = self._rows("SELECT number FROM accounts WHERE did=?", did)
        return self._rows(_CIDS, rows[0][0], after, limit) if rows else []

    def take(self, shard: int, page: Sequence[Read], at: int) -> None:
        """HOT: messages of a shard, in order, up to offset `at`; they may come again."""
        heads: dict[Did, Head] = {}
        paths: dict[Did, dict[str, bytes | None]] = {}
        done = self.done[shard]
        for content, state in page:
            if isinstance(content, RecordEntry):
                cid = None if content.cid is None else content.cid.raw
                paths.setdefault(content.did, {})[f"{content.collection}/{content.rkey}"] = cid
            elif isinstance(content, HeadEntry | HeadGone | AccountEntry | StateOnly):
                did = content.did
                if did not in heads and (known := self.head(did)) is not None:
                    heads[did] = known
                learn(heads, content, state)
            elif isinstance(content, DerivePlace):
                done = content.done
        heads = {did: msgspec.structs.replace(head, commit_block=None) for did, head in heads.items()}
        with self._db as db:
            db.executemany(_PUT_ACCOUNT, [(str(did), encode_head(head)) for did, head in heads.items()])
            puts, drops = [], []
            for did, changed in paths.items():
                number = self._number(did)
                puts += [(number, path, cid) for path, cid in changed.items() if cid is not None]
                drops += [(number, path) for path, cid in changed.items() if cid is None]
            db.executemany("INSERT OR REPLACE INTO paths VALUES(?, ?, ?)", puts)
            db.executemany("DELETE FROM paths WHERE account=? AND path=?", drops)
            db.execute("INSERT OR REPLACE INTO progress VALUES(?, ?, ?)", (shard, at, done))
            db.execute("UPDATE meta SET saved=?", (int(self._now()),))
        for did, head in heads.items():
            self._keep(did, head)
        self.at[shard], self.done[shard] = at, done

    def forget(self, topic: str) -> None:
        """Begin from nothing."""
        with self._db as db:
            db.execute("DELETE FROM accounts; DELETE FROM paths; DELETE FROM progress")
            db.execute("UPDATE meta SET topic=?, saved=?", (topic, int(self._now())))
        shards = len(self.at)
        self.at, self.done = [0] * shards, [0] * shards
        self._cache.clear()

    def close(self) -> None:
        self._db.close()

    def _number(self, did: Did) -> int:
        """The account's row; its records come before its first head."""
        rows = self._rows("SELECT number FROM accounts WHERE did=?", did)
        if not rows:
            self._db.execute(_PUT_ACCOUNT, (str(did), b""))
            return self._db.last_insert_rowid()
        number: int = rows[0][0]
        return number

    def _keep(self, did: str, head: Head | None) -> Head | None:
        self._cache[did] = head
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return head

    def _rows(self, sql: str, *arguments: object) -> list[Any]:
        return self._db.execute(sql, arguments).fetchall()


def _check_version(path: Path, version: int) -> None:
    if version != VERSION:
        raise InvariantError(f"{path}: expected version {VERSION} of a relay's view, found {version}: delete it")
