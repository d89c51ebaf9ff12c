"""What may be dropped from the SQLite log, in steps of one small transaction.

- `commits` and `firehose`: older than 72 h and, for `commits`, behind every consumer and every half-done expansion.
- `records`: an entry that a newer one replaces, once the newer one is older than 24 h and behind every consumer
  (EXACTNESS 6: never between a consumer's message and its redo); a tombstone after 14 days.
- `operations`: what a newer one replaces is gone with it; a removal after 14 days, but for the newest of a shard.
Numbers are never given twice: where the newest row goes, `meta` remembers the end.
Does not own when this runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import apsw
import msgspec

from ingest.log_sqlite.batch import Ends
from ingest.log_sqlite.rows import RECORD
from ingest.log_sqlite.schema import OFFSET_MASK, SHARD_BITS, meta, rows_of, set_meta

HOUR = 3_600_000_000
COMMITS_KEPT = 72 * HOUR
RECORDS_KEPT = 24 * HOUR
TOMBSTONES_KEPT = 14 * 24 * HOUR
STEP_ROWS = 1000


class Cut(msgspec.Struct, frozen=True):
    """`now` in unix microseconds, and each topic's consumers with their offset per shard."""

    now: int
    commits: Mapping[str, Mapping[int, int]]
    records: Mapping[str, Mapping[int, int]]
    operations: Mapping[str, Mapping[int, int]] = {}


def truncate_step(con: apsw.Connection, cut: Cut, ends: Ends, held: Mapping[int, int]) -> int:
    """One transaction on the writer's connection, off the loop; returns the number of rows dropped, 0 at the end.

    `held` is the first offset of `commits` that a half-done expansion still needs, per shard.
    """
    with con:
        if dropped := _firehose(con, cut.now, ends):
            return dropped
        for shard in range(len(ends.commits)):
            high = shard << SHARD_BITS
            limit = _slowest(cut.records.values(), shard, ends.records[shard])
            dropped = _compact(con, high, limit, cut.now) or _bury(con, high, limit, cut.now, ends.records[shard])
            if not dropped:
                limit = _slowest(cut.operations.values(), shard, ends.operations[shard])
                dropped = _forget(con, high, min(limit, ends.operations[shard] - 1), cut.now)
            if not dropped:
                limit = _slowest(cut.commits.values(), shard, ends.commits[shard])
                limit = min(limit, held.get(shard, limit + 1) - 1)
                dropped = _commits(con, shard, limit, cut.now, ends)
            if dropped:
                return dropped
    return 0


def _slowest(consumers: Iterable[Mapping[int, int]], shard: int, end: int) -> int:
    return min((progress.get(shard, 0) for progress in consumers), default=end)


def _commits(con: apsw.Connection, shard: int, limit: int, now: int, ends: Ends) -> int:
    high = shard << SHARD_BITS
    rows = rows_of(
        con,
        "SELECT id FROM commits WHERE id>=? AND id<=? AND time<? ORDER BY id LIMIT ?",
        (high, high | limit, now - COMMITS_KEPT, STEP_ROWS),
    )
    if not rows:
        return 0
    set_meta(con, f"commits_end.{shard}", ends.commits[shard])
    set_meta(con, "last_time", ends.time)
    con.execute("DELETE FROM commits WHERE id>=? AND id<=?", (high, rows[-1][0]))
    return len(rows)


def _firehose(con: apsw.Connection, now: int, ends: Ends) -> int:
    """First, so that no event refers to a dropped commit: an event has its commit's time, and times rise with seq."""
    rows = rows_of(con, "SELECT seq, time FROM firehose ORDER BY seq LIMIT ?", (STEP_ROWS,))
    old = [seq for seq, time in rows if time < now - COMMITS_KEPT]
    if not old:
        return 0
    set_meta(con, "next_seq", ends.seq + 1)
    con.execute("DELETE FROM firehose WHERE seq<=?", (old[-1],))
    return len(old)


def _compact(con: apsw.Connection, high: int, limit: int, now: int) -> int:
    """Go on where the last step ended: every entry is looked at once, for the one it replaces."""
    key = f"compacted.{high >> SHARD_BITS}"
    after = meta(con, key) or 0
    rows = rows_of(
        con,
        "SELECT id, replaces FROM records WHERE id>? AND id<=? AND time<? ORDER BY id LIMIT ?",
        (high | after, high | limit, now - RECORDS_KEPT, STEP_ROWS),
    )
    if not rows:
        return 0
    con.executemany("DELETE FROM records WHERE id=?", [(old,) for _, old in rows if old is not None])
    set_meta(con, key, rows[-1][0] & OFFSET_MASK)
    return len(rows)


def _bury(con: apsw.Connection, high: int, limit: int, now: int, end: int) -> int:
    key = f"buried.{high >> SHARD_BITS}"
    after = meta(con, key) or 0
    rows = rows_of(
        con,
        "SELECT id, kind, value IS NULL FROM records WHERE id>? AND id<=? AND id<? AND time<? ORDER BY id LIMIT ?",
        (high | after, high | limit, high | end, now - TOMBSTONES_KEPT, STEP_ROWS),
    )
    if not rows:
        return 0
    con.executemany("DELETE FROM records WHERE id=?", [(at,) for at, kind, empty in rows if kind == RECORD and empty])
    set_meta(con, key, rows[-1][0] & OFFSET_MASK)
    return len(rows)


def _forget(con: apsw.Connection, high: int, limit: int, now: int) -> int:
    """Removals; the number of the newest row is where the shard's end is read from, so that it stays."""
    if limit < 1:
        return 0
    rows = rows_of(
        con,
        "SELECT id FROM operations WHERE id>=? AND id<=? AND value IS NULL AND time<? ORDER BY id LIMIT ?",
        (high, high | limit, now - TOMBSTONES_KEPT, STEP_ROWS),
    )
    con.executemany("DELETE FROM operations WHERE id=?", rows)
    return len(rows)
