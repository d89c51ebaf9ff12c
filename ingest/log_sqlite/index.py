"""Heads and the repo index of the SQLite log, as committed: `ingest.log.RepoIndex`, and what derive asks for.

Reads through the reader connection and keeps the heads of busy accounts in memory, bounded. Never shows an append in
flight: the batch under way lies over it (`ingest.log_sqlite.batch`).
"""

from __future__ import annotations

from collections.abc import Mapping

import apsw

from ingest.derive import Known, Place
from ingest.log import Head
from ingest.log_sqlite.schema import OFFSET_MASK, rows_of
from schemas.cid import Cid
from schemas.errors import InvariantError
from schemas.syntax import Did, Handle
from schemas.tid import Tid

_HEAD = (
    "SELECT h.account, h.rev, h.head_at, h.account_at, h.status, h.handle, h.partial, h.taken_down, "
    "h.verified_at, r.cid, r.value FROM heads h LEFT JOIN records r ON r.id=h.head_at WHERE h.did=?"
)
_PLACE = (
    "SELECT i.at, coalesce(r.first_time, r.time) FROM repo_index i LEFT JOIN records r ON r.id=i.at "
    "WHERE i.account=? AND i.path=?"
)
_LIVE = (
    "SELECT i.path, i.at, coalesce(r.first_time, r.time) FROM repo_index i LEFT JOIN records r ON r.id=i.at "
    "WHERE i.account=? ORDER BY i.path LIMIT ?"
)
_RECORD = (
    "SELECT r.cid, r.value, coalesce(r.first_time, r.time) FROM repo_index i JOIN records r ON r.id=i.at "
    "WHERE i.account=? AND i.path=?"
)
_PATHS = "SELECT path FROM repo_index WHERE account=? AND path>? AND path<? ORDER BY path LIMIT ?"
_CIDS = (
    "SELECT i.path, r.cid, r.value FROM repo_index i JOIN records r ON r.id=i.at "
    "WHERE i.account=? AND i.path>? ORDER BY i.path LIMIT ?"
)
_TAKEDOWN = "SELECT at FROM takedowns WHERE uri=?"
_PATHS_END = "\U0010ffff"
_MAX_PATHS = 10_000


class SqliteIndex:
    """Places are offsets in the account's shard of `records`."""

    def __init__(self, con: apsw.Connection, max_accounts: int) -> None:
        self._con = con
        self._max_accounts = max_accounts
        self._known: dict[str, Known] = {}
        self._numbers: dict[str, int] = {}

    def known(self, did: str) -> Known | None:
        """HOT: an account's head and where it stands in `records`."""
        return self._known.get(did) or self._load(did)

    def number(self, did: str) -> int | None:
        """The account's number in this file."""
        if did in self._numbers or self._load(did):
            return self._numbers[did]
        return None

    def place(self, did: str, path: str) -> Place | None:
        """HOT: where the live record at `path` stands."""
        number = self._numbers.get(did) or self.number(did)
        if number is None:
            return None
        rows = rows_of(self._con, _PLACE, (number, path))
        return (rows[0][0] & OFFSET_MASK, rows[0][1]) if rows else None

    def live(self, did: str, limit: int) -> list[tuple[str, Place]]:
        rows = rows_of(self._con, _LIVE, (self.number(did), limit))
        return [(path, (at & OFFSET_MASK, first)) for path, at, first in rows]

    def takedown_at(self, uri: str) -> int | None:
        rows = rows_of(self._con, _TAKEDOWN, (uri,))
        return rows[0][0] & OFFSET_MASK if rows else None

    def head(self, did: str) -> Head | None:
        known = self.known(did)
        return None if known is None else known.head

    def record(self, did: str, path: str) -> tuple[Cid, bytes, int] | None:
        rows = rows_of(self._con, _RECORD, (self.number(did), path))
        if not rows:
            return None
        cid, value, first = rows[0]
        if value is None:
            raise InvariantError(f"at://{did}/{path}: the repo index names a row of `records` that holds no record")
        return (Cid(cid) if cid is not None else Cid.of_cbor(value), value, first)

    def paths(self, did: str, collection: str | None = None, after: str = "", limit: int = 1000) -> list[str]:
        """Paths above `after`, in byte order; of one collection if it is named."""
        low, high = ("", _PATHS_END) if collection is None else (f"{collection}/", f"{collection}0")
        arguments = (self.number(did), max(low, after), high, min(limit, _MAX_PATHS))
        return [path for (path,) in rows_of(self._con, _PATHS, arguments)]

    def cids(self, did: str, after: str = "", limit: int = 1000) -> list[tuple[str, bytes]]:
        """(path, binary CID) of live records above `after`, in byte order."""
        rows = rows_of(self._con, _CIDS, (self.number(did), after, min(limit, _MAX_PATHS)))
        return [(path, cid or Cid.of_cbor(value).raw) for path, cid, value in rows]

    def committed(self, known: Mapping[str, Known], numbers: Mapping[str, int]) -> None:
        """A batch is durable: what it changed is now what is known."""
        self._known.update(known)
        self._numbers.update(numbers)
        if len(self._known) > self._max_accounts:
            for did in list(self._known)[: len(self._known) - self._max_accounts * 7 // 8]:
                del self._known[did]
                del self._numbers[did]

    def _load(self, did: str) -> Known | None:
        rows = rows_of(self._con, _HEAD, (did,))
        if not rows:
            return None
        number, rev, head_at, account_at, status, handle, partial, taken_down, verified_at, data, block = rows[0]
        head = Head(
            Did(did),
            rev and Tid(rev),
            data and Cid(data),
            block and Cid.of_cbor(block),
            block,
            status,
            handle and Handle(handle),
            bool(partial),
            bool(taken_down),
            verified_at,
        )
        known = Known(head, head_at and head_at & OFFSET_MASK, account_at and account_at & OFFSET_MASK)
        self.committed({did: known}, {did: number})
        return known
