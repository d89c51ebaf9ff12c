"""Accounts of this PDS in DIR/accounts.sqlite: rows in and out, one writing thread, a bounded cache for readers.

Does not own sessions (sessions.py), blobs (blob_index.py), nor what an account's life is (lifecycle.py); they share
this file's connection through `write` and `read`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import apsw

from ingest.pds.accounts_schema import connect, rows
from ingest.pds.refusals import handle_taken, invalid_request
from ingest.repo.keys import PrivateKey
from schemas.syntax import Did, Handle

T = TypeVar("T")

AccountState = Literal["pending", "active", "deactivated"]
_STATES = frozenset(get_args(AccountState))
_CACHE_SIZE = 20_000
_COLUMNS = "did, handle, email, email_confirmed, password, status, takedown, curve, signing_key, plc_op, created"


@dataclass(frozen=True, slots=True)
class AccountRow:
    """`pending` reserves the handle while the account is made; `takedown` is the moderator's reference."""

    did: Did
    handle: Handle
    email: str | None
    email_confirmed: bool
    password: str | None
    status: AccountState
    takedown: str | None
    key: PrivateKey
    plc_op: bytes | None
    created: int

    @property
    def effective_status(self) -> Literal["active", "deactivated", "takendown"]:
        if self.takedown is not None:
            return "takendown"
        return "active" if self.status == "active" else "deactivated"

    @property
    def active(self) -> bool:
        return self.takedown is None and self.status == "active"


def _row(values: tuple[Any, ...]) -> AccountRow:
    did, handle, email, confirmed, password, status, takedown, curve, secret, plc_op, created = values
    assert status in _STATES, status
    key = PrivateKey.from_bytes(curve, secret)
    return AccountRow(
        Did(did), Handle(handle), email, bool(confirmed), password, status, takedown, key, plc_op, created
    )


class Accounts:
    """Reads are synchronous (WAL, on the loop, cached); writes go through one thread and are durable when awaited."""

    def __init__(self, path: Path) -> None:
        self._writer = connect(path)
        self._reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        self._reader.set_busy_timeout(10_000)
        self._thread = ThreadPoolExecutor(1, "accounts")
        self._cache: OrderedDict[str, AccountRow] = OrderedDict()

    async def write(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run `work` in one transaction; what it raises rolls it back and comes out here."""

        def transaction() -> T:
            with self._writer:
                result = work(self._writer)
            return result  # noqa: RET504 - mypy takes apsw's `with` for one that may swallow exceptions

        return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)

    def read(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        return rows(self._reader, sql, bindings)

    # --- rows ---

    def get(self, did: str) -> AccountRow | None:
        """HOT. Pending ones too."""
        row = self._cache.get(did)
        if row is not None:
            return row
        found = self.read(f"SELECT {_COLUMNS} FROM accounts WHERE did = ?", (did,))  # noqa: S608 - constants
        if not found:
            return None
        row = self._cache[did] = _row(found[0])
        if len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)
        return row

    def by_handle(self, handle: str) -> AccountRow | None:
        found = self.read("SELECT did FROM accounts WHERE handle = ?", (handle,))
        return self.get(found[0][0]) if found else None

    def by_email(self, email: str) -> AccountRow | None:
        found = self.read("SELECT did FROM accounts WHERE email = ?", (email,))
        return self.get(found[0][0]) if found else None

    def pending(self) -> list[AccountRow]:
        return [_row(row) for row in self.read(f"SELECT {_COLUMNS} FROM accounts WHERE status = 'pending'")]  # noqa: S608

    def hosted(self) -> list[Did]:
        """Every account, pending ones too."""
        return [Did(did) for (did,) in self.read("SELECT did FROM accounts")]

    def page(self, after: tuple[int, str], limit: int) -> list[tuple[int, Did]]:
        """(created, did) of accounts that are made, in order of creation."""
        found = self.read(
            "SELECT created, did FROM accounts WHERE status != 'pending' AND (created, did) > (?, ?)"
            " ORDER BY created, did LIMIT ?",
            (*after, limit),
        )
        return [(created, Did(did)) for created, did in found]

    async def insert(self, row: AccountRow) -> None:
        """Raises XrpcError when the handle, the email or the DID is taken."""
        values = (
            row.did,
            row.handle,
            row.email,
            int(row.email_confirmed),
            row.password,
            row.status,
            row.takedown,
            row.key.curve,
            row.key.to_bytes(),
            row.plc_op,
            row.created,
        )

        def insert(db: apsw.Connection) -> None:
            if rows(db, "SELECT 1 FROM accounts WHERE handle = ?", (row.handle,)):
                raise handle_taken(row.handle)
            if row.email is not None and rows(db, "SELECT 1 FROM accounts WHERE email = ?", (row.email,)):
                raise invalid_request(f"Email already taken: {row.email}")
            if rows(db, "SELECT 1 FROM accounts WHERE did = ?", (row.did,)):
                raise invalid_request(f"Account already exists: {row.did}")
            db.execute(f"INSERT INTO accounts ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", values)  # noqa: S608

        await self.write(insert)

    async def update(self, did: str, **columns: str | int | bytes | None) -> None:
        """Set columns of one account. Raises XrpcError when a handle is taken."""
        names = ", ".join(f"{name} = ?" for name in columns)

        def update(db: apsw.Connection) -> None:
            try:
                db.execute(f"UPDATE accounts SET {names} WHERE did = ?", (*columns.values(), did))  # noqa: S608
            except apsw.ConstraintError as error:
                raise handle_taken(str(columns.get("handle"))) from error

        try:
            await self.write(update)
        finally:
            self._cache.pop(did, None)

    async def remove(self, did: str) -> None:
        """Forget an account: every row that names it."""

        def remove(db: apsw.Connection) -> None:
            for table in ("accounts", "refresh_tokens", "email_tokens", "blobs", "preferences"):
                db.execute(f"DELETE FROM {table} WHERE did = ?", (did,))  # noqa: S608 - constants

        try:
            await self.write(remove)
        finally:
            self._cache.pop(did, None)

    # --- moderation ---

    async def set_takedown(self, subject: str, reference: str | None) -> None:
        """Of an account (a DID) or of a record (an AT-URI), as the log says; None reverses it."""

        def update(db: apsw.Connection) -> None:
            if subject.startswith("did:"):
                db.execute("UPDATE accounts SET takedown = ? WHERE did = ?", (reference, subject))
            elif reference is None:
                db.execute("DELETE FROM takedowns WHERE uri = ?", (subject,))
            else:
                db.execute("INSERT OR REPLACE INTO takedowns VALUES (?, ?)", (subject, reference))

        try:
            await self.write(update)
        finally:
            self._cache.pop(subject, None)

    def record_takedown(self, uri: str) -> str | None:
        """The moderator's reference, if that record is taken down."""
        found = self.read("SELECT reference FROM takedowns WHERE uri = ?", (uri,))
        return found[0][0] if found else None

    # --- checkpoints of the account files ---

    def checkpoint(self, shard: int) -> int:
        found = self.read("SELECT offset FROM checkpoints WHERE shard = ?", (shard,))
        return int(found[0][0]) if found else 0

    async def set_checkpoints(self, offsets: dict[int, int]) -> None:
        await self.write(
            lambda db: db.executemany("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", list(offsets.items()))
        )

    def close(self) -> None:
        self._thread.shutdown()
        self._reader.close()
        self._writer.close()
