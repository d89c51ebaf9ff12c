"""What accounts that wait said of themselves: the newest #account and #identity of each host, as they came.

Rows gather in memory and are written by `write`, in whoever's transaction moves the cursors past them
(`ingest.relay.hosts_store`). Does not own who waits (`ingest.relay.strangers`).
"""

from __future__ import annotations

from typing import Any

import apsw

from ingest.repo.frame import decode_frame
from ingest.repo.messages import AccountMessage, IdentityMessage
from schemas.entries import cbor_uint
from schemas.errors import InvariantError
from schemas.syntax import Did

TABLE = """
CREATE TABLE IF NOT EXISTS told(did TEXT NOT NULL, host TEXT NOT NULL, kind TEXT NOT NULL, frame BLOB NOT NULL,
  PRIMARY KEY(did, host, kind)) WITHOUT ROWID;
"""

Told = AccountMessage | IdentityMessage


class ToldStore:
    """Over a connection that is another's."""

    def __init__(self, con: apsw.Connection) -> None:
        self._con = con
        self._put: dict[str, dict[tuple[str, str], bytes]] = {}
        self._dropped: set[str] = set()

    def __bool__(self) -> bool:
        """Something waits to be written."""
        return bool(self._put or self._dropped)

    def put(self, host: str, message: Told) -> None:
        frame = message.head + cbor_uint(message.seq) + message.tail
        self._put.setdefault(message.did, {})[host, _kind(message)] = frame

    def drop(self, did: Did) -> None:
        self._put.pop(did, None)
        self._dropped.add(did)

    def write(self) -> None:
        """In a transaction of the caller's; `written` once that holds."""
        self._con.executemany("DELETE FROM told WHERE did=?", [(did,) for did in self._dropped])
        self._con.executemany(
            "INSERT OR REPLACE INTO told VALUES(?, ?, ?, ?)",
            [(did, *key, frame) for did, rows in self._put.items() for key, frame in rows.items()],
        )

    def written(self) -> None:
        self._put.clear()
        self._dropped.clear()

    def all(self) -> list[tuple[str, Told]]:
        """(host, message), an account's in the order in which its host said them. Wants nothing unwritten."""
        found = []
        rows: list[Any] = self._con.execute("SELECT host, frame FROM told").fetchall()
        for host, frame in rows:
            message = decode_frame(frame)
            if not isinstance(message, AccountMessage | IdentityMessage):
                raise InvariantError(f"expected #account or #identity to be kept of {host}, found {message!r:.200}")
            found.append((host, message))
        return sorted(found, key=lambda told: (told[1].did, told[0], told[1].seq))


def _kind(message: Told) -> str:
    return "account" if isinstance(message, AccountMessage) else "identity"
