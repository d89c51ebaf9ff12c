"""The log of one process: `ingest.log.Log` on one SQLite file.

Appending goes through the one writer (`ingest.log_sqlite.writer`); reading through a connection of its own, on the
loop, or from the newest entries in memory. The directory is locked to one process by the composition root.
Does not own what an entry means (`ingest.derive`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path

from ingest.changes import LoopChanges
from ingest.derive import STEP, did_of
from ingest.log import Appended, Follower, Head, Operated, Reason, Value
from ingest.log_sqlite.batch import Batch
from ingest.log_sqlite.checkpoint import Checkpointer
from ingest.log_sqlite.index import SqliteIndex
from ingest.log_sqlite.rows import (
    SELECT_FIREHOSE,
    SELECT_OPERATIONS,
    SELECT_RECORDS,
    event_of_row,
    of_row,
    operation_of_row,
)
from ingest.log_sqlite.schema import OFFSET_MASK, SHARD_BITS, open_reader, open_writer, rows_of
from ingest.log_sqlite.start import read_ends, read_expansions, read_oldest
from ingest.log_sqlite.writer import Group, LogStoppedError, Writer
from ingest.log_tail import Tail
from ingest.log_truncate import Cut
from schemas import tracing
from schemas.cid import Cid
from schemas.entries import Account, Commit, Derived, Diff, Entry, FirehoseEvent, RecordEntry, Sync
from schemas.entry_codec import decode
from schemas.errors import InvariantError
from schemas.operations import Operation
from schemas.syntax import Did
from schemas.topics import shard_of

__all__ = ["LogStoppedError", "SqliteLog"]

MAX_READ = 5000
VALUES_PAGE = 500
TAIL_ENTRIES = 8192
TAIL_BYTES = 8 << 20
# An appender's answer takes three turns of the loop to leave; a reader that wakes first would hold it up for a batch.
_TURNS = 2


def _unix_micros() -> int:
    return time.time_ns() // 1000


class SqliteLog:
    """`ingest.log.Log`; make one with `await SqliteLog.open(...)`."""

    def __init__(
        self,
        path: Path,
        *,
        shards: int,
        first_seq: int,
        now: Callable[[], int],
        max_accounts: int,
        step: int,
        committed: Callable[[int, float], None],
    ) -> None:
        self._shards = shards
        self._con = con = open_writer(path, shards=shards, first_seq=first_seq)
        self._reader = open_reader(path)
        self._index = SqliteIndex(self._reader, max_accounts)
        ends = read_ends(con, shards)
        self._oldest = read_oldest(self._reader)
        self._tails: list[Tail[Derived]] = [Tail(end, TAIL_ENTRIES, TAIL_BYTES) for end in ends.records]
        self._events: Tail[FirehoseEvent] = Tail(ends.seq, TAIL_ENTRIES, TAIL_BYTES)
        self._changed = LoopChanges(
            lambda: self._writer.ends.records,
            lambda: self._writer.ends.seq,
            lambda: self._writer.ends.operations,
        )
        expansions = read_expansions(con)
        self._writer = Writer(
            con,
            self._index,
            Checkpointer(path, con),
            ends,
            expansions,
            now=now,
            step=step,
            published=self._publish,
            committed=committed,
        )

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        shards: int = 1,
        first_seq: int = 1,
        now: Callable[[], int] = _unix_micros,
        max_accounts: int = 8192,
        step: int = STEP,
        committed: Callable[[int, float], None] = lambda _, __: None,
    ) -> SqliteLog:
        """Open or create the log at `path` and finish what a crash left half done.

        `first_seq` is the first seq of a new log: above every one served before it. `max_accounts` bounds the heads
        kept in memory (about 1 KB each), `step` the derived entries of one transaction of an expansion. `committed` is
        told the entries and the seconds of each commit. Raises InvariantError when the file is of another number of
        shards.
        """
        log = cls(
            path,
            shards=shards,
            first_seq=first_seq,
            now=now,
            max_accounts=max_accounts,
            step=step,
            committed=committed,
        )
        while log._writer.expansions:
            woken = asyncio.ensure_future(log._changed.next())
            await asyncio.wait((woken, log._writer.task), return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
            if log._writer.failure is not None:
                raise LogStoppedError("unknown", log._writer.failure)
        return log

    async def append(self, entry: Entry) -> Appended:
        """Durable and accepted when it returns; raises Rejected, or LogStoppedError."""
        return (await self.append_many((entry,)))[0]

    async def append_many(self, entries: Sequence[Entry]) -> list[Appended]:
        """Several entries in one transaction, all or nothing.

        An entry that may need more than one transaction to derive (a deletion, the last chunk of a diff) comes last.
        """
        if any(_expands(entry) for entry in entries[:-1]):
            raise InvariantError(
                "append_many: a deletion or the last chunk of a diff may only be the last of its group"
            )
        if not entries:
            return []
        shards = [0 if self._shards == 1 else shard_of(did_of(entry), self._shards) for entry in entries]
        group = Group(entries, shards, sum(map(_size, entries)))
        tracer = tracing.TRACER
        if tracer is None:
            return await self._writer.put(group)
        with tracer.span("append commits", attributes={"messaging.batch.message_count": len(entries)}):
            return await self._writer.put(group)

    async def operate(self, operation: Operation) -> Operated:
        """Durable when it returns, with whatever else is committed then. Raises LogStoppedError."""
        shard = shard_of(operation.did, self._shards)
        size = 256 + len(operation.subject) + len(operation.value or b"")
        (told,) = await self._writer.put(Group(operation, [shard], size))
        return Operated(told.shard, told.offset, told.time)

    @property
    def shards(self) -> int:
        return self._shards

    @property
    def changed(self) -> LoopChanges:
        return self._changed

    def records_end(self, shard: int) -> int:
        return self._writer.ends.records[shard]

    async def read_records(self, shard: int, after: int, limit: int) -> list[Derived]:
        """HOT: from memory if `after` is not far behind."""
        found = self._tails[shard].read(after, limit)
        if found is not None:
            return found
        low, high = shard << SHARD_BITS | after, (shard + 1) << SHARD_BITS
        return [of_row(row) for row in rows_of(self._reader, SELECT_RECORDS, (low, high, min(limit, MAX_READ)))]

    def operations_end(self, shard: int) -> int:
        return self._writer.ends.operations[shard]

    async def read_operations(self, shard: int, after: int, limit: int) -> list[Operation]:
        low, high = shard << SHARD_BITS | after, (shard + 1) << SHARD_BITS
        found = rows_of(self._reader, SELECT_OPERATIONS, (low, high, min(limit, MAX_READ)))
        return [operation_of_row(row) for row in found]

    def commits_end(self, shard: int) -> int:
        return self._writer.ends.commits[shard]

    async def read_commits(self, shard: int, after: int, limit: int) -> list[tuple[int, Entry]]:
        low, high = shard << SHARD_BITS | after, (shard + 1) << SHARD_BITS
        sql = "SELECT id, body FROM commits WHERE id>? AND id<? ORDER BY id LIMIT ?"
        return [
            (at & OFFSET_MASK, decode(body))
            for at, body in rows_of(self._reader, sql, (low, high, min(limit, MAX_READ)))
        ]

    async def read_firehose(self, after_seq: int, limit: int) -> list[FirehoseEvent]:
        """HOT: from memory if `after_seq` is not far behind."""
        found = self._events.read(after_seq, limit)
        if found is not None:
            return found
        return [event_of_row(row) for row in rows_of(self._reader, SELECT_FIREHOSE, (after_seq, min(limit, MAX_READ)))]

    def firehose_bounds(self) -> tuple[int, int, int]:
        """(oldest seq, newest seq, oldest time); the oldest are 0 when none is kept."""
        return (self._oldest[0], self._writer.ends.seq, self._oldest[1])

    def head(self, did: str) -> Head | None:
        return self._index.head(did)

    def newest(self, did: str) -> tuple[int, int] | None:
        known = self._index.known(did)
        if known is None:
            return None
        return shard_of(did, self.shards), max(known.head_at or 0, known.account_at or 0)

    def record(self, did: str, path: str) -> tuple[Cid, bytes, int] | None:
        return self._index.record(did, path)

    def paths(self, did: str, collection: str | None = None, after: str = "", limit: int = 1000) -> list[str]:
        return self._index.paths(did, collection, after, limit)

    def cids(self, did: str, after: str = "", limit: int = 1000) -> list[tuple[str, bytes]]:
        """(path, binary CID) of live records above `after`, in byte order."""
        return self._index.cids(did, after, limit)

    async def host(self, dids: Collection[Did]) -> None:
        """Nothing to do: this log knows every account."""

    async def settled(self, did: Did) -> None:
        """Nothing to do: an outcome that is unknown stops this log, and the file tells at the next start."""

    def follow(self, follower: Follower) -> None:
        """Nothing to tell: `head` is what was decided, whoever wrote it."""

    async def values(self, dids: Collection[Did]) -> AsyncIterator[list[Value]]:
        """From the index: what is live, each path once, in byte order."""
        for did in dids:
            after = ""
            while page := self.paths(did, None, after, VALUES_PAGE):
                after = page[-1]
                found = [(path, self.record(did, path)) for path in page]
                yield [(did, path, record[0], record[1]) for path, record in found if record is not None]
                await asyncio.sleep(0)

    @property
    def waiting(self) -> int:
        """Groups of entries that wait for the writer: at most `writer.MAX_WAITING`."""
        return self._writer.waiting

    @property
    def appended(self) -> int:
        """Entries put into `commits` since the log was opened."""
        return self._writer.appended

    @property
    def rejected(self) -> Counter[Reason]:
        """Entries refused since the log was opened, by reason."""
        return self._writer.rejected

    async def truncate(
        self,
        *,
        commits: Mapping[str, Mapping[int, int]],
        records: Mapping[str, Mapping[int, int]],
        now: int,
        operations: Mapping[str, Mapping[int, int]] | None = None,
    ) -> int:
        """Drop what no consumer needs any more (`ingest.log_truncate`); returns the number of rows looked at.

        `commits`, `records` and `operations` map the consumers of each topic to their offset per shard. Goes in
        small transactions, between the batches.
        """
        cut, total = Cut(now, commits, records, operations or {}), 0
        while count := await self._writer.cut(cut):
            total += count
        self._oldest = read_oldest(self._reader)
        return total

    async def stopped(self) -> BaseException:
        """Waits until the log has stopped by itself, and says why; the composition root ends the process then."""
        await asyncio.wait((self._writer.task,))
        if self._writer.failure is None:
            await asyncio.get_running_loop().create_future()
        assert self._writer.failure is not None
        return self._writer.failure

    async def close(self) -> None:
        """Write what waits, then close the file; the writer's connection last, which tidies the write-ahead log."""
        await self._writer.finish()
        self._reader.close()
        self._con.close()

    def _publish(self, batch: Batch) -> None:
        """HOT: let a durable batch be seen."""
        tails = self._tails
        for shard, entry in batch.derived:
            value = entry.value if isinstance(entry, RecordEntry) else None
            tails[shard].push(entry, 256 if value is None else 256 + len(value))
        for event in batch.events:
            self._events.push(event, 256 + len(event.tail))
        if not self._oldest[0] and batch.events:
            self._oldest = (batch.events[0].seq, batch.events[0].time)
        self._wake(_TURNS)

    def _wake(self, turns: int) -> None:
        """Tell the readers, some turns of the loop from now."""
        loop = asyncio.get_running_loop()
        if turns:
            loop.call_soon(self._wake, turns - 1)
        else:
            loop.call_soon(self._changed.notify)


def _expands(entry: Entry) -> bool:
    if isinstance(entry, Diff):
        return entry.chunk == entry.chunks - 1
    return isinstance(entry, Account) and entry.status == "deleted"


def _size(entry: Entry) -> int:
    """About how many bytes an entry holds, to bound queues by."""
    if isinstance(entry, Commit | Sync):
        return 256 + len(entry.tail)
    if isinstance(entry, Diff):
        return 256 + sum(128 + len(op.record or b"") for op in entry.ops)
    return 256
