"""Which blobs an account has, in DIR/accounts.sqlite.

States: *uploading* (the row is there, the file may not be), *temporary* (uploaded, nothing is known to refer to it),
*referenced* (seen to be referred to), *dropped* (a record that referred to it went), *deleting* (may no longer be
referred to). What refers to a blob is asked of the account's records, never of this state: it only says where the
collector has to look. Does not own the files (blob_files.py) nor the collector (blobs.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import apsw

from ingest.pds.accounts import Accounts
from ingest.pds.accounts_schema import rows
from schemas.cid import Cid
from schemas.syntax import Did

State = Literal["uploading", "temporary", "referenced", "dropped", "deleting"]
_USABLE = "state IN ('temporary', 'referenced', 'dropped')"


@dataclass(frozen=True, slots=True)
class BlobRow:
    cid: Cid
    mime: str
    size: int
    state: State
    takedown: str | None


class BlobIndex:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def get(self, did: str, cid: Cid) -> BlobRow | None:
        """A blob that may be referred to and served."""
        found = self._accounts.read(
            f"SELECT mime, size, state, takedown FROM blobs WHERE did = ? AND cid = ? AND {_USABLE}",  # noqa: S608
            (did, cid.raw),
        )
        return BlobRow(cid, *found[0]) if found else None

    def page(self, did: str, after: bytes, limit: int) -> list[Cid]:
        found = self._accounts.read(
            f"SELECT cid FROM blobs WHERE did = ? AND cid > ? AND {_USABLE} ORDER BY cid LIMIT ?",  # noqa: S608
            (did, after, limit),
        )
        return [Cid(raw) for (raw,) in found]

    def count(self, did: str) -> int:
        return int(self._accounts.read(f"SELECT count(*) FROM blobs WHERE did = ? AND {_USABLE}", (did,))[0][0])  # noqa: S608

    async def begin(self, did: str, cid: Cid, mime: str, size: int, now: int) -> BlobRow | None:
        """Announce an upload, durably. Gives the row instead when the blob is already whole (and renews its age)."""

        def begin(db: apsw.Connection) -> BlobRow | None:
            found = rows(db, "SELECT mime, size, state, takedown FROM blobs WHERE did = ? AND cid = ?", (did, cid.raw))
            if found and found[0][2] in ("temporary", "referenced", "dropped"):
                db.execute("UPDATE blobs SET created = ? WHERE did = ? AND cid = ?", (now, did, cid.raw))
                return BlobRow(cid, *found[0])
            takedown = found[0][3] if found else None
            db.execute(
                "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?, 'uploading', ?)",
                (did, cid.raw, mime, size, now, takedown),
            )
            return None

        return await self._accounts.write(begin)

    async def set_state(self, did: str, cids: Iterable[Cid], state: State) -> None:
        rows = [(state, did, cid.raw) for cid in cids]
        await self._accounts.write(
            lambda db: db.executemany("UPDATE blobs SET state = ? WHERE did = ? AND cid = ?", rows)
        )

    async def set_takedown(self, did: str, cid: Cid, takedown: str | None) -> bool:
        """Whether there was such a blob."""

        def update(db: apsw.Connection) -> bool:
            db.execute("UPDATE blobs SET takedown = ? WHERE did = ? AND cid = ?", (takedown, did, cid.raw))
            return db.changes() > 0

        return await self._accounts.write(update)

    async def forget(self, did: str, cid: Cid) -> None:
        await self._accounts.write(lambda db: db.execute("DELETE FROM blobs WHERE did = ? AND cid = ?", (did, cid.raw)))

    def unfinished(self) -> list[tuple[Did, Cid]]:
        """What a crash left between two steps: files that may or may not be there, rows that must go."""
        found = self._accounts.read("SELECT did, cid FROM blobs WHERE state IN ('uploading', 'deleting')")
        return [(Did(did), Cid(raw)) for did, raw in found]

    def suspects(self, before: int, limit: int) -> list[tuple[Did, Cid]]:
        """Blobs that may have no reference: dropped ones at any age, temporary ones made before `before`."""
        found = self._accounts.read(
            "SELECT did, cid FROM blobs WHERE state = 'dropped' UNION ALL"
            " SELECT did, cid FROM blobs WHERE state = 'temporary' AND created <= ? LIMIT ?",
            (before, limit),
        )
        return [(Did(did), Cid(raw)) for did, raw in found]
