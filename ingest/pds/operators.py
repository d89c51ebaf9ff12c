"""What the operator may do with an account: look, set another password, delete. No HTTP.

Does not own takedowns (takedowns.py) nor what a deletion does (lifecycle.py).
"""

from __future__ import annotations

from ingest.pds.accounts import AccountRow, Accounts
from ingest.pds.hosted import Hosted
from ingest.pds.lifecycle import Lifecycle
from ingest.pds.passwords import Passwords
from ingest.pds.refusals import invalid_request
from ingest.pds.sessions import Sessions
from ingest.pds.writer import Writer
from schemas.syntax import Did

_LOOKED_AT = 2_000  # rows of one search


class Operators:
    """Raises XrpcError with the reference's names."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        hosted: Hosted,
        lifecycle: Lifecycle,
        passwords: Passwords,
        sessions: Sessions,
        writer: Writer,
    ) -> None:
        self._accounts = accounts
        self._hosted = hosted
        self._lifecycle = lifecycle
        self._passwords = passwords
        self._sessions = sessions
        self._writer = writer

    def account(self, did: Did) -> AccountRow:
        return self._hosted.own(did)

    def search(
        self, email: str | None, after: tuple[int, str], limit: int
    ) -> tuple[list[AccountRow], tuple[int, str] | None]:
        """Accounts after (created, did), in order of creation, whose address has `email` in it; where to go on.

        A page may be short of `limit`, or empty, and not the last: so many rows are looked at and no more.
        """
        wanted = None if email is None else email.lower()
        found: list[AccountRow] = []
        for created, did in self._accounts.page(after, _LOOKED_AT):
            if len(found) == limit:
                return found, after
            row = self._accounts.get(did)
            if row is not None and (wanted is None or wanted in (row.email or "")):
                found.append(row)
            after = created, did
        more = self._accounts.page(after, 1)
        return found, after if more else None

    async def set_password(self, did: Did, password: str) -> None:
        """Every session ends: whoever had the old one is out."""
        self.account(did)
        if not password:
            raise invalid_request("expected a password, found none")
        hashed = await self._passwords.hash(password)
        await self._accounts.update(did, password=hashed)
        await self._sessions.end_all(did)

    async def delete(self, did: Did) -> None:
        """The account, its records and its blobs."""
        await self._writer.finish(self._lifecycle.delete(did))
