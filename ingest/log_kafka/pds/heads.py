"""The heads of a PDS's own accounts, in a SQLite file beside it: what its verdicts are run against.

A view of `commits`: each batch in one transaction with the offsets that it makes the heads complete to, so a file that
a power cut set back, or that was lost, is brought up from the log. Does not own how (`ingest.log_kafka.pds.fold`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import apsw

from ingest.log import Head
from ingest.log_kafka.heads import decode_head, encode_head
from schemas.errors import InvariantError
from schemas.syntax import Did

VERSION = 1
_CACHED = 20_000  # about 1 KB each

_TABLES = """
CREATE TABLE heads (did TEXT PRIMARY KEY, head BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE progress (shard INTEGER PRIMARY KEY, offset INTEGER NOT NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


class OwnHeads:
    """Synchronous: a few rows a call, on the loop. `time` is the newest log time given out, in unix microseconds."""

    def __init__(self, path: Path, *, cluster: str, shards: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        db = self._db = apsw.Connection(str(path))
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        version = db.pragma("user_version")
        if version == 0:
            with db:
                db.execute(_TABLES)
                db.execute(
                    "INSERT INTO meta VALUES ('cluster', ?), ('shards', ?), ('time', 0), ('rejections', 0)",
                    (cluster, shards),
                )
                db.pragma("user_version", VERSION)
        elif version != VERSION:
            db.close()
            raise InvariantError(f"{path}: expected version {VERSION} of the heads, found {version}: delete the file")
        found = (self._meta("cluster"), self._meta("shards"))
        if found != (cluster, shards):
            db.close()
            raise InvariantError(
                f"{path}: expected the heads of cluster {cluster!r} with {shards} shards, found {found[0]!r} with "
                f"{found[1]}: give this PDS its own directory, or the settings that it was made with"
            )
        self._cache: OrderedDict[str, Head | None] = OrderedDict()
        self.time: int = self._meta("time")
        self.rejections: int = self._meta("rejections")
        self.complete: list[int] = [0] * shards
        """By shard, the offset of `commits` up to which every own head is known."""
        progress: list[Any] = db.execute("SELECT shard, offset FROM progress").fetchall()
        for shard, offset in progress:
            self.complete[shard] = offset
        self.fresh = not progress
        """Whether no head was ever kept here, so that accounts may live here whose beginning was never read."""

    def get(self, did: str) -> Head | None:
        """HOT."""
        cache = self._cache
        if did in cache:
            cache.move_to_end(did)
            return cache[did]
        rows: list[Any] = self._db.execute("SELECT head FROM heads WHERE did = ?", (did,)).fetchall()
        return self._keep(did, decode_head(did, rows[0][0]) if rows else None)

    def known(self, did: str) -> bool:
        """Whether the account lives here and its head has been looked for, also if there is none."""
        return bool(self._db.execute("SELECT 1 FROM heads WHERE did = ?", (did,)).fetchall())

    def put(
        self, heads: Mapping[Did, Head | None], complete: Mapping[int, int], *, time: int = 0, rejections: int = 0
    ) -> None:
        """HOT. One transaction; None: the log holds nothing of an account that lives here."""
        db, self.time = self._db, max(self.time, time)
        with db:
            rows = [(str(did), encode_head(head)) for did, head in heads.items()]
            db.executemany("INSERT OR REPLACE INTO heads VALUES (?, ?)", rows)
            db.executemany("INSERT OR REPLACE INTO progress VALUES (?, ?)", complete.items())
            db.execute("UPDATE meta SET value = ? WHERE key = 'time'", (self.time,))
            if rejections:
                db.execute("UPDATE meta SET value = ? WHERE key = 'rejections'", (rejections,))
                self.rejections = rejections
        for did, head in heads.items():
            self._keep(did, head)
        for shard, offset in complete.items():
            self.complete[shard] = offset

    def close(self) -> None:
        self._db.close()

    def _keep(self, did: str, head: Head | None) -> Head | None:
        self._cache[did] = head
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return head

    def _meta(self, key: str) -> Any:
        rows: Iterable[Any] = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchall()
        return next(iter(rows))[0]
