"""What a SQLite log reads of itself when it is opened: its ends, and what a crash left half done."""

from __future__ import annotations

import apsw

from ingest.log_sqlite.batch import Ends, Expansion
from ingest.log_sqlite.diff import find_chunks
from ingest.log_sqlite.schema import SHARD_BITS, meta, newest, rows_of
from ingest.verdict import Reject
from schemas.entries import Account, Diff
from schemas.entry_codec import decode
from schemas.errors import InvariantError


def read_ends(con: apsw.Connection, shards: int) -> Ends:
    """From the tables, and from `meta` where truncation has dropped the newest row."""
    commits = [max(newest(con, "commits", shard), meta(con, f"commits_end.{shard}") or 0) for shard in range(shards)]
    records = [newest(con, "records", shard) for shard in range(shards)]
    operations = _operations(con, shards)
    clock = max([meta(con, "last_time") or 0, *(time for _, time in operations)])
    for shard, offset in enumerate(commits):
        rows = rows_of(con, "SELECT time FROM commits WHERE id=?", (shard << SHARD_BITS | offset,))
        clock = max([clock, *(row[0] for row in rows)])
    seq = rows_of(con, "SELECT max(seq) FROM firehose")[0][0] or 0
    account = rows_of(con, "SELECT max(account) FROM heads")[0][0] or 0
    newest_seq = max(seq, (meta(con, "next_seq") or 1) - 1)
    return Ends(commits, records, clock, newest_seq, account, [offset for offset, _ in operations])


def _operations(con: apsw.Connection, shards: int) -> list[tuple[int, int]]:
    """(offset, time) of each shard's newest; a log that only older versions have written has no such table."""
    if not rows_of(con, "SELECT 1 FROM sqlite_schema WHERE name='operations'"):
        return [(0, 0)] * shards
    found = [newest(con, "operations", shard) for shard in range(shards)]
    times = [
        rows_of(con, "SELECT time FROM operations WHERE id=?", (shard << SHARD_BITS | offset,))
        for shard, offset in enumerate(found)
    ]
    return [(offset, rows[0][0] if rows else 0) for offset, rows in zip(found, times, strict=True)]


def read_oldest(con: apsw.Connection) -> tuple[int, int]:
    """(seq, time) of the oldest event that is kept; zeros when none is."""
    rows = rows_of(con, "SELECT seq, time FROM firehose ORDER BY seq LIMIT 1")
    return rows[0] if rows else (0, 0)


def read_expansions(con: apsw.Connection) -> dict[int, Expansion]:
    """The entries that were derived in part, by shard."""
    found: dict[int, Expansion] = {}
    for shard, source, chunk, op in rows_of(con, "SELECT shard, source, chunk, op FROM expansions"):
        rows = rows_of(con, "SELECT body FROM commits WHERE id=?", (source,))
        entry = decode(rows[0][0]) if rows else None
        chunks: tuple[int, ...] | Reject = ()
        if isinstance(entry, Diff):
            chunks = find_chunks(con, (), entry, source)
        if isinstance(chunks, Reject) or not isinstance(entry, Account | Diff):
            raise InvariantError(f"shard {shard}: the half-done expansion of {source} cannot go on: {chunks or entry}")
        found[shard] = Expansion(source, entry, chunks, chunk, op)
    return found
