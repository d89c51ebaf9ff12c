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
    clock = meta(con, "last_time") or 0
    for shard, offset in enumerate(commits):
        rows = rows_of(con, "SELECT time FROM commits WHERE id=?", (shard << SHARD_BITS | offset,))
        clock = max([clock, *(row[0] for row in rows)])
    seq = rows_of(con, "SELECT max(seq) FROM firehose")[0][0] or 0
    account = rows_of(con, "SELECT max(account) FROM heads")[0][0] or 0
    return Ends(commits, records, clock, max(seq, (meta(con, "next_seq") or 1) - 1), account)


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
