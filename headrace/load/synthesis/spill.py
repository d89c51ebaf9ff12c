"""Repos that have no room in memory, in a file without a name: it is gone when the process is, however it ends.

Does not own what a repo is nor when there is no room (`repos.py`).
"""

from __future__ import annotations

import apsw

_CACHE_KB = 16_384


class Spill:
    """Bytes by an account's number. One thread uses it."""

    def __init__(self) -> None:
        # Of the name "" SQLite makes a private database, whose file it unlinks before it writes.
        self._db = apsw.Connection("")
        for pragma in ("journal_mode=off", "synchronous=off", f"cache_size=-{_CACHE_KB}"):
            self._db.pragma(*pragma.split("="))
        self._db.execute("CREATE TABLE repos (number INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT")

    def put(self, number: int, data: bytes) -> None:
        self._db.execute("INSERT INTO repos VALUES (?, ?)", (number, data))

    def take(self, number: int) -> bytes:
        """What was put, which is not kept. Raises KeyError."""
        for (data,) in self._db.execute("DELETE FROM repos WHERE number = ? RETURNING data", (number,)):
            found: bytes = data
            return found
        raise KeyError(number)

    def close(self) -> None:
        self._db.close()
