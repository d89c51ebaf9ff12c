"""Rows of `records`, `firehose` and `operations` to entries and back.

Nothing is stored that the rest of the row says: a record's CID is the hash of its bytes, a head's commit the hash of
its block, `first_time` is left out where it is `time`.
"""

from __future__ import annotations

from typing import Any

from ingest.log_sqlite.schema import OFFSET_MASK
from schemas.cid import CBOR_PREFIX, Cid
from schemas.entries import AccountEntry, Derived, FirehoseEvent, HeadEntry, RecordEntry, TakedownEntry
from schemas.entry_codec import frame_of
from schemas.operations import Operation
from schemas.syntax import Did, Handle
from schemas.tid import Tid

RECORD, HEAD, ACCOUNT, TAKEDOWN = range(4)

INSERT_RECORD = (
    "INSERT INTO records(id, kind, account, path, cid, value, rev, first_time, time, replaces) "
    "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
SELECT_RECORDS = (
    "SELECT r.id, r.kind, h.did, r.path, r.cid, r.value, r.rev, r.first_time, r.time "
    "FROM records r LEFT JOIN heads h USING(account) WHERE r.id>? AND r.id<? ORDER BY r.id LIMIT ?"
)
INSERT_FIREHOSE = "INSERT INTO firehose(seq, time, source, kind, did, head, tail) VALUES(?, ?, ?, ?, ?, ?, ?)"
SELECT_FIREHOSE = (
    "SELECT f.seq, f.time, f.kind, f.did, f.head, f.tail, c.body "
    "FROM firehose f LEFT JOIN commits c ON c.id=f.source WHERE f.seq>? ORDER BY f.seq LIMIT ?"
)

INSERT_OPERATION = "INSERT OR REPLACE INTO operations(id, did, kind, subject, value, time) VALUES(?, ?, ?, ?, ?, ?)"
SELECT_OPERATIONS = "SELECT id, did, kind, subject, value, time FROM operations WHERE id>? AND id<? ORDER BY id LIMIT ?"
SELECT_OWN = "SELECT kind, subject FROM operations WHERE did=? AND value IS NOT NULL ORDER BY kind, subject LIMIT ?"


def to_row(entry: Derived, at: int, account: int | None, replaces: int | None) -> tuple[Any, ...]:
    """HOT: the row of `records` at id `at`."""
    if isinstance(entry, RecordEntry):
        cid = entry.cid
        kept = None if cid is None or (len(cid.raw) == 36 and cid.raw[:4] == CBOR_PREFIX) else cid.raw
        first = None if entry.first_time == entry.time else entry.first_time
        path = f"{entry.collection}/{entry.rkey}"
        return (at, RECORD, account, path, kept, entry.value, entry.rev, first, entry.time, replaces)
    if isinstance(entry, HeadEntry):
        return (at, HEAD, account, None, entry.data.raw, entry.commit_block, entry.rev, None, entry.time, replaces)
    if isinstance(entry, AccountEntry):
        verified_at = entry.verified_at
        return (at, ACCOUNT, account, entry.handle, None, None, entry.status, verified_at, entry.time, replaces)
    return (at, TAKEDOWN, None, entry.uri, None, None, None, int(entry.takedown), entry.time, replaces)


def of_row(row: Any) -> Derived:
    """The entry of a row of SELECT_RECORDS."""
    at, kind, did, path, cid, value, rev, first, time = row
    n = at & OFFSET_MASK
    if kind == RECORD:
        collection, _, rkey = path.partition("/")
        link = None if value is None else Cid(cid) if cid is not None else Cid.of_cbor(value)
        first = time if first is None else first
        return RecordEntry(Did(did), collection, rkey, link, value, Tid(rev), first, time, n, n)
    if kind == HEAD:
        return HeadEntry(Did(did), Tid(rev), Cid(cid), Cid.of_cbor(value), value, time, n, n)
    if kind == ACCOUNT:
        return AccountEntry(Did(did), path and Handle(path), rev, first, time, n, n)
    return TakedownEntry(path, bool(first), time, n, n)


def event_of_row(row: Any) -> FirehoseEvent:
    """The event of a row of SELECT_FIREHOSE."""
    seq, time, kind, did, head, tail, body = row
    if body is not None:
        kind, did, head, tail = frame_of(body)
    return FirehoseEvent(seq, Did(did), kind, head, tail, time)


def operation_of_row(row: Any) -> Operation:
    """The entry of a row of SELECT_OPERATIONS."""
    at, did, kind, subject, value, time = row
    return Operation(Did(did), kind, subject, value, time, at & OFFSET_MASK)
