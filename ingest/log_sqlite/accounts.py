"""What the log of one process holds of an account now, found by account: for audits, which recompute from it.

Reads beside the log through a connection of its own. Does not own what is made of the entries (`processors.audit`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from ingest.log_sqlite.rows import of_row, operation_of_row
from ingest.log_sqlite.schema import meta, newest, open_reader, rows_of
from schemas.entries import Derived
from schemas.operations import Operation
from schemas.topics import OPERATIONS, RECORDS

_COLUMNS = "r.id, r.kind, h.did, r.path, r.cid, r.value, r.rev, r.first_time, r.time"
_LIVE = (
    f"SELECT {_COLUMNS} FROM heads h JOIN repo_index i USING(account) JOIN records r ON r.id=i.at "  # noqa: S608 - names
    "WHERE h.did=? LIMIT ?"
)
_OWN = f"SELECT {_COLUMNS} FROM heads h JOIN records r ON r.id IN (h.head_at, h.account_at) WHERE h.did=?"  # noqa: S608
_TAKEDOWNS = (
    f"SELECT {_COLUMNS} FROM takedowns t JOIN records r ON r.id=t.at LEFT JOIN heads h USING(account) "  # noqa: S608
    "WHERE t.uri>? AND t.uri<?"
)
_OPERATIONS = "SELECT id, did, kind, subject, value, time FROM operations WHERE did=? ORDER BY id LIMIT ?"
_SAMPLE = "SELECT did FROM heads WHERE account>=? ORDER BY account LIMIT 1"
_IS_LIVE = "SELECT 1 FROM heads h JOIN repo_index i USING(account) WHERE h.did=? AND i.path=?"


class SqliteAccounts:
    """`processors.audit.Accounts`."""

    topics = (RECORDS, OPERATIONS)

    def __init__(self, path: Path) -> None:
        self._reader = open_reader(path)

    async def sample(self, count: int) -> list[str]:
        """At most `count` accounts, any as likely as another."""
        ((newest,),) = rows_of(self._reader, "SELECT coalesce(max(account), 0) FROM heads")
        if not newest:
            return []
        numbers = {random.randint(1, newest) for _ in range(count)}  # noqa: S311 - nothing to guess
        found = [rows_of(self._reader, _SAMPLE, (number,)) for number in numbers]
        return sorted({rows[0][0] for rows in found if rows})

    async def entries(self, did: str, limit: int) -> list[Derived] | None:
        """The newest entry of each key that is there, in order of offset; None when there are more than `limit`."""
        rows = rows_of(self._reader, _LIVE, (did, limit + 1))
        if len(rows) > limit:
            return None
        rows += rows_of(self._reader, _OWN, (did,))
        rows += rows_of(self._reader, _TAKEDOWNS, (f"at://{did}/", f"at://{did}0"))
        return [of_row(row) for row in sorted(rows, key=lambda row: row[0])]

    async def operations(self, did: str, limit: int) -> list[Operation] | None:
        """What the account has set, and what it has taken away lately; None when there are more than `limit`."""
        rows = rows_of(self._reader, _OPERATIONS, (did, limit + 1))
        return None if len(rows) > limit else [operation_of_row(row) for row in rows]

    async def operations_ends(self) -> list[int]:
        """As `ends`, of `operations`."""
        shards = meta(self._reader, "shards") or 0
        return [newest(self._reader, "operations", shard) for shard in range(shards)]

    async def ends(self) -> list[int]:
        """By shard, the newest entry of `records` that the others of these questions may have been answered from.

        The file is a moment ahead of what the log tells its readers.
        """
        shards = meta(self._reader, "shards") or 0
        return [newest(self._reader, "records", shard) for shard in range(shards)]

    async def live(self, records: Sequence[tuple[str, str]]) -> list[bool]:
        """Of each (DID, "collection/rkey"), whether there is a record; in the order asked."""
        return [bool(rows_of(self._reader, _IS_LIVE, record)) for record in records]

    async def close(self) -> None:
        self._reader.close()
