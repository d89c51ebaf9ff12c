"""One transaction of the SQLite log: entries judged, derived and numbered in memory, then written in a few statements.

Nothing is written before all is judged, so that a refused group is forgotten by cutting lists, and reads during the
judging see what is committed with this batch laid over it. Does not own the transaction (`ingest.log_sqlite.log`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from ingest.derive import STEP, Known, Place, Step, derive, derive_deletion, derive_diff, did_of
from ingest.log import Appended, Head, Reason, Rejected
from ingest.log_sqlite.diff import find_chunks, load_chunk
from ingest.log_sqlite.index import SqliteIndex
from ingest.log_sqlite.rows import INSERT_FIREHOSE, INSERT_OPERATION, INSERT_RECORD, SELECT_OWN, to_row
from ingest.log_sqlite.schema import OFFSET_MASK, SHARD_BITS, rows_of
from ingest.verdict import Reject, accept
from schemas.entries import Account, Commit, Derived, Diff, Entry, FirehoseEvent, FirehoseKind, Sync, TakedownEntry
from schemas.entry_codec import encode
from schemas.operations import Operation
from schemas.syntax import Did
from schemas.topics import shard_of

Result = list[Appended] | Rejected

_HEADS = (
    "INSERT INTO heads(account, did, rev, head_at, account_at, status, handle, partial, taken_down, verified_at) "
    "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(account) DO UPDATE SET rev=excluded.rev, "
    "head_at=excluded.head_at, account_at=excluded.account_at, status=excluded.status, handle=excluded.handle, "
    "partial=excluded.partial, taken_down=excluded.taken_down, verified_at=excluded.verified_at"
)


class Ends(msgspec.Struct):
    """How far the log has come: each shard's newest offsets; the newest log time, seq and account number of all.

    One clock for all shards: it rises strictly, so that what is older in `firehose` is older in every shard.
    """

    commits: list[int]
    records: list[int]
    time: int
    seq: int
    account: int
    operations: list[int]

    def copy(self) -> Ends:
        return Ends(self.commits[:], self.records[:], self.time, self.seq, self.account, self.operations[:])


class Expansion(msgspec.Struct, frozen=True):
    """An entry of which only some steps are done; its shard takes nothing else until they are."""

    source: int
    entry: Account | Diff
    chunks: tuple[int, ...] = ()
    """Ids of a diff's chunks in `commits`."""
    chunk: int = 0
    op: int = 0
    """Where in the diff the next step begins."""


class Batch:
    """Collects what one transaction writes; is derive's `State`. HOT.

    `below` is what lies under this batch: the committed state, or the batch that a group of several is tried in.
    """

    def __init__(
        self, con: apsw.Connection, below: SqliteIndex | Batch, ends: Ends, now: int, step: int = STEP
    ) -> None:
        self._con = con
        self._below = below
        self._now = now
        self._step = step
        self.ends = ends.copy()
        self.known_here: dict[str, Known] = {}
        self.numbers: dict[str, int] = {}
        self._places: dict[str, dict[str, Place | None]] = {}
        self._takedowns: dict[str, int] = {}
        self.commits: list[tuple[Any, ...]] = []
        self.records: list[tuple[Any, ...]] = []
        self.firehose: list[tuple[Any, ...]] = []
        self.operations: dict[tuple[str, str, str], tuple[Any, ...]] = {}
        self.derived: list[tuple[int, Derived]] = []
        self.events: list[FirehoseEvent] = []
        self.expansions: dict[int, Expansion | None] = {}
        self.rejected: list[Reason] = []

    def known(self, did: str) -> Known | None:
        return self.known_here.get(did) or self._below.known(did)

    def number(self, did: str) -> int | None:
        return self.numbers.get(did) or self._below.number(did)

    def place(self, did: str, path: str) -> Place | None:
        here = self._places.get(did)
        if here is not None and path in here:
            return here[path]
        return self._below.place(did, path)

    def live(self, did: str, limit: int) -> list[tuple[str, Place]]:
        here = self._places.get(did, {})
        found = dict(self._below.live(did, limit + len(here)))
        for path, place in here.items():
            if place is None:
                found.pop(path, None)
            else:
                found[path] = place
        return sorted(found.items())[:limit]

    def takedown_at(self, uri: str) -> int | None:
        at = self._takedowns.get(uri)
        return self._below.takedown_at(uri) if at is None else at & OFFSET_MASK

    def add(self, entries: Sequence[Entry], shards: Sequence[int]) -> Result:
        """Judge a group. A refused single entry stays in `commits`; of a refused group of several nothing stays."""
        if len(entries) == 1:
            return self._add(entries[0], shards[0])
        trial = Batch(self._con, self, self.ends, self._now, self._step)
        trial.commits = self.commits[:]  # a diff re-reads its range
        trial.operations = self.operations.copy()  # a deletion removes what is the account's
        results: list[Appended] = []
        first: int | None = None
        for given, shard in zip(entries, shards, strict=True):
            entry = given
            if isinstance(entry, Diff) and entry.chunk and entry.first is None:
                entry = msgspec.structs.replace(entry, first=first)
            result = trial._add(entry, shard)
            if isinstance(result, Rejected):
                self.rejected += trial.rejected
                return result
            if isinstance(entry, Diff) and entry.chunk == 0:
                first = result[0].offset
            results += result
        self._merge(trial)
        return results

    def operate(self, operation: Operation, shard: int) -> list[Appended]:
        """Take one that needs no judging: whoever asked may. Of a key the last one stays."""
        ends = self.ends
        time = ends.time = max(self._now, ends.time + 1)
        offset = ends.operations[shard] = ends.operations[shard] + 1
        key = (operation.did, operation.kind, operation.subject)
        self.operations[key] = (shard << SHARD_BITS | offset, *key, operation.value, time)
        return [Appended(shard, offset, None, time, 0)]

    def busy(self) -> set[int]:
        """Shards with an expansion that this transaction leaves half done."""
        return {shard for shard, left in self.expansions.items() if left is not None}

    def step(self, shard: int, todo: Expansion) -> None:
        """The next step of an expansion."""
        if isinstance(todo.entry, Account):
            step = derive_deletion(todo.entry, self.ends.records[shard], self, self._step)
            self._take(step, shard)
            done = step.done and self._forget(todo.entry.did, shard)
            self.expansions[shard] = None if done else todo
            return
        left: Expansion | None = todo
        room = self._step
        while left is not None and room > 2:
            chunk = load_chunk(self._con, self.commits, left.chunks[left.chunk])
            step = derive_diff(todo.entry, chunk, left.op, self.ends.records[shard], self, room=room)
            if step.event is not None:
                # As old as what it stands behind: the times of `firehose` rise.
                self._sequence(step.event, step.did, None, self.ends.time)
            self._take(step, shard)
            room -= len(step.entries)
            if not step.done:
                left = msgspec.structs.replace(left, op=left.op + len(step.index))
            elif left.chunk + 1 < len(left.chunks):
                left = msgspec.structs.replace(left, chunk=left.chunk + 1, op=0)
            else:
                left = None
        self.expansions[shard] = left

    def write(self, con: apsw.Connection) -> None:
        """Everything in a few statements, inside the caller's transaction."""
        con.executemany("INSERT INTO commits(id, time, body) VALUES(?, ?, ?)", self.commits)
        con.executemany(INSERT_RECORD, self.records)
        con.executemany(INSERT_FIREHOSE, self.firehose)
        if self.operations:
            con.executemany(INSERT_OPERATION, self.operations.values())
        con.executemany(_HEADS, [self._head_row(did, known) for did, known in self.known_here.items()])
        puts, drops = [], []
        for did, paths in self._places.items():
            number = self.number(did)
            high = self._shard_of(did) << SHARD_BITS
            for path, place in paths.items():
                if place is None:
                    drops.append((number, path))
                else:
                    puts.append((number, path, high | place[0]))
        con.executemany("INSERT OR REPLACE INTO repo_index(account, path, at) VALUES(?, ?, ?)", puts)
        if drops:
            con.executemany("DELETE FROM repo_index WHERE account=? AND path=?", drops)
        if self._takedowns:
            con.executemany("INSERT OR REPLACE INTO takedowns(uri, at) VALUES(?, ?)", self._takedowns.items())
        for shard, left in self.expansions.items():
            con.execute("DELETE FROM expansions WHERE shard=?", (shard,))
            if left is not None:
                con.execute("INSERT INTO expansions VALUES(?, ?, ?, ?)", (shard, left.source, left.chunk, left.op))

    def _add(self, entry: Entry, shard: int) -> Result:
        ends = self.ends
        time = ends.time = max(self._now, ends.time + 1)
        offset = ends.commits[shard] = ends.commits[shard] + 1
        entry = msgspec.structs.replace(entry, time=time)
        source = shard << SHARD_BITS | offset
        self.commits.append((source, time, encode(entry)))
        known = self.known(did_of(entry))
        head = None if known is None else known.head
        verdict = accept(head, entry)
        if isinstance(verdict, Reject):
            return self._reject(verdict, head)
        seq: int | None = None
        if isinstance(entry, Diff):
            if entry.chunk == entry.chunks - 1:
                chunks = find_chunks(self._con, self.commits, entry, source)
                if isinstance(chunks, Reject):
                    return self._reject(chunks, head)
                self.step(shard, Expansion(source, entry, chunks))
        else:
            step = derive(entry, verdict.partial, ends.records[shard], self, self._step)
            if step.event is not None:
                carried = isinstance(entry, Commit | Sync)
                seq = self._sequence(step.event, step.did, source if carried else None, time)
            self._take(step, shard)
            if isinstance(entry, Account) and entry.status == "deleted":
                done = step.done and self._forget(entry.did, shard)
                if not done:
                    self.expansions[shard] = Expansion(source, entry)
        return [Appended(shard, offset, seq, time, ends.records[shard])]

    def _forget(self, did: Did, shard: int) -> bool:
        """Remove the operations of an account that is deleted, as many as fit a step; whether that is all of them."""
        room = self._step
        stored = rows_of(self._con, SELECT_OWN, (did, room + len(self.operations) + 1))
        here = {key[1:]: row[4] for key, row in self.operations.items() if key[0] == did}
        keys = [key for key in stored if key not in here]
        keys += [key for key, value in here.items() if value is not None]
        for kind, subject in keys[:room]:
            self.operate(Operation(did, kind, subject, None), shard)
        return len(keys) <= room

    def _reject(self, verdict: Reject, head: Head | None) -> Rejected:
        self.rejected.append(verdict.reason)
        return Rejected(verdict.reason, verdict.detail, head)

    def _sequence(self, event: tuple[FirehoseKind, bytes, bytes], did: Did, source: int | None, time: int) -> int:
        """Number an event. `source` is the entry of `commits` that holds its frame, if one does."""
        seq = self.ends.seq = self.ends.seq + 1
        kind, head, tail = event
        if source is not None:
            self.firehose.append((seq, time, source, None, None, None, None))
        else:
            self.firehose.append((seq, time, None, kind, did, head, tail))
        self.events.append(FirehoseEvent(seq, did, kind, head, tail, time))
        return seq

    def _take(self, step: Step, shard: int) -> None:
        did = step.did
        high = shard << SHARD_BITS
        self.ends.records[shard] = step.end
        number: int | None = None
        if step.known is not None:
            self.known_here[did] = step.known
            number = self.number(did)
            if number is None:
                number = self.ends.account = self.ends.account + 1
            self.numbers[did] = number
        elif step.index:
            number = self.number(did)
        for entry, replaces in zip(step.entries, step.replaces, strict=True):
            at = high | entry.offset
            self.records.append(to_row(entry, at, number, None if replaces is None else high | replaces))
            self.derived.append((shard, entry))
            if isinstance(entry, TakedownEntry):
                self._takedowns[entry.uri] = at
        if step.index:
            self._places.setdefault(did, {}).update(step.index)

    def _merge(self, trial: Batch) -> None:
        self.ends = trial.ends
        self.known_here |= trial.known_here
        self.numbers |= trial.numbers
        for did, paths in trial._places.items():
            self._places.setdefault(did, {}).update(paths)
        self._takedowns |= trial._takedowns
        self.commits = trial.commits
        self.records += trial.records
        self.firehose += trial.firehose
        self.derived += trial.derived
        self.events += trial.events
        self.operations = trial.operations
        self.expansions |= trial.expansions

    def _shard_of(self, did: str) -> int:
        return shard_of(did, len(self.ends.commits))

    def _head_row(self, did: str, known: Known) -> tuple[Any, ...]:
        head = known.head
        high = self._shard_of(did) << SHARD_BITS
        head_at = None if known.head_at is None else high | known.head_at
        account_at = None if known.account_at is None else high | known.account_at
        number = self.numbers[did]
        places = (head_at, account_at)
        marks = (head.partial, head.taken_down, head.verified_at)
        return (number, did, head.rev, *places, head.status, head.handle, *marks)
