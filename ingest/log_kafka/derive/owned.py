"""What the accounts of one shard have set in this AppView, by account: derive removes it when an account is deleted.

A cache of `operations` in a file of its own, complete to one offset and brought up to the end when it is asked, which
is at a deletion and never else; begun anew when it is lost or of another topic. By log time, as derive may come to a
deletion when its owner is back and has set other things: those stay. Whatever is set while its owner is being deleted
may stay too: it is seen by nobody. Does not own what is done about it (`ingest.log_kafka.derive.batch`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import apsw

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.reader import PartitionReader
from ingest.log_kafka.topic_ids import topic_ids
from schemas.errors import InvariantError
from schemas.operations import Operation, decode
from schemas.topics import OPERATIONS

_PAGE: Final = 2_000
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta(topic TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS owned(
  did TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, time INTEGER NOT NULL,
  PRIMARY KEY(did, kind, subject)) WITHOUT ROWID;
"""


class KafkaOwned:
    """`ingest.log_kafka.derive.batch.Owned` of one shard. Opens and connects at the first question; `close` it."""

    def __init__(self, settings: KafkaSettings, path: Path, shard: int) -> None:
        self._settings = settings
        self._path = path
        self._reader = PartitionReader(settings, OPERATIONS, shard)
        self._con: apsw.Connection | None = None
        self._at = 0

    async def keys(self, did: str, after: int, until: int, limit: int) -> list[tuple[str, str]]:
        """(kind, subject) of at most `limit` values that are there now, in order, by the log times of these values."""
        con = self._con or await self._open()
        while messages := await self._reader.read(self._at, _PAGE):
            found = [decode(m.key, m.value, m.headers, m.offset + 1) for m in messages]
            self._take(con, found, messages[-1].offset + 1)
        sql = "SELECT kind, subject FROM owned WHERE did=? AND time>? AND time<=? ORDER BY kind, subject LIMIT ?"
        return [(str(kind), str(subject)) for kind, subject in con.execute(sql, (did, after, until, limit))]

    async def close(self) -> None:
        await self._reader.close()
        if self._con is not None:
            self._con.close()

    async def _open(self) -> apsw.Connection:
        topic = (await topic_ids(self._settings, [OPERATIONS]))[OPERATIONS]
        con = self._con = apsw.Connection(str(self._path))
        con.set_busy_timeout(5000)
        con.execute("PRAGMA journal_mode=WAL")
        con.execute("PRAGMA synchronous=NORMAL")
        con.execute(_TABLES)
        rows: list[Any] = con.execute("SELECT topic, at FROM meta").fetchall()
        self._at = rows[0][1] if rows and rows[0][0] == topic else 0
        if self._at > (await self._reader.bounds())[1]:  # the broker has lost what it had acknowledged
            self._at = 0
        if not self._at:
            with con:
                con.execute("DELETE FROM owned; DELETE FROM meta")
                con.execute("INSERT INTO meta VALUES(?, 0)", (topic,))
        return con

    def _take(self, con: apsw.Connection, found: list[Operation], at: int) -> None:
        with con:
            for each in found:
                key = (each.did, each.kind, each.subject)
                if each.value is None:
                    con.execute("DELETE FROM owned WHERE did=? AND kind=? AND subject=?", key)
                else:
                    con.execute("INSERT OR REPLACE INTO owned VALUES(?, ?, ?, ?)", (*key, each.time))
            con.execute("UPDATE meta SET at=? WHERE at=?", (at, self._at))
            if not con.changes():
                raise InvariantError(
                    f"{self._path} is not at {self._at}: another process has this shard; this one ends"
                )
        self._at = at
