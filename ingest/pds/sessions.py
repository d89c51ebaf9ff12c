"""Refresh tokens: one use each, a grace for clients that lost our answer, and theft revokes the whole family.

A token's first use names its successor; used again within the grace it gives that same successor. After the grace a
second use means that two parties hold it: every token that descends from the same login is revoked.
Does not own the tokens' form (tokens.py) nor passwords.
"""

from __future__ import annotations

import secrets

import apsw

from ingest.pds.accounts import Accounts
from ingest.pds.accounts_schema import rows
from schemas.syntax import Did


class Sessions:
    """Times are unix seconds."""

    def __init__(self, accounts: Accounts, grace: int, ttl: int) -> None:
        self._accounts = accounts
        self._grace = grace
        self._ttl = ttl

    async def start(self, did: Did, now: int) -> str:
        """A new family; the id of its first refresh token."""
        token_id = secrets.token_urlsafe(24)

        def insert(db: apsw.Connection) -> None:
            db.execute("DELETE FROM refresh_tokens WHERE did = ? AND expires <= ?", (did, now))
            db.execute(
                "INSERT INTO refresh_tokens VALUES (?, ?, ?, NULL, NULL, ?)", (token_id, did, token_id, now + self._ttl)
            )

        await self._accounts.write(insert)
        return token_id

    async def rotate(self, token_id: str, now: int) -> tuple[Did, str] | None:
        """The account and its next refresh token's id; None when the token is revoked, expired or unknown."""

        def rotate(db: apsw.Connection) -> tuple[Did, str] | None:
            found = rows(db, "SELECT did, family, next_id, used, expires FROM refresh_tokens WHERE id = ?", (token_id,))
            if not found:
                return None
            did, family, next_id, used, expires = found[0]
            if expires <= now:
                return None
            if used is not None and used + self._grace < now:
                db.execute("DELETE FROM refresh_tokens WHERE did = ? AND family = ?", (did, family))
                return None
            if next_id is None:
                next_id = secrets.token_urlsafe(24)
                db.execute("UPDATE refresh_tokens SET next_id = ?, used = ? WHERE id = ?", (next_id, now, token_id))
            db.execute(
                "INSERT OR IGNORE INTO refresh_tokens VALUES (?, ?, ?, NULL, NULL, ?)",
                (next_id, did, family, now + self._ttl),
            )
            return Did(did), next_id

        return await self._accounts.write(rotate)

    async def end(self, token_id: str) -> None:
        """Revoke the family of one token."""

        def end(db: apsw.Connection) -> None:
            for family in rows(db, "SELECT did, family FROM refresh_tokens WHERE id = ?", (token_id,)):
                db.execute("DELETE FROM refresh_tokens WHERE did = ? AND family = ?", family)

        await self._accounts.write(end)

    async def end_all(self, did: Did) -> None:
        await self._accounts.write(lambda db: db.execute("DELETE FROM refresh_tokens WHERE did = ?", (did,)))
