"""The log of one process: `ingest.log.Log` on one SQLite file, group commit over all accounts.

1. Appended groups wait in a bounded queue. One task takes all that wait, judges and writes them on the loop in one
   transaction, and commits in a thread (the fsync runs without the GIL) while the next batch gathers.
2. Only then are futures resolved, heads advanced and readers woken: nobody sees what a power cut could take back.
3. A batch that fails leaves its outcome unknown: its futures say so, and the log stops for good (`stopped`). What is
   true is read from the file at the next start.
4. A shard with a half-done expansion takes nothing else until it is done; other shards go on.

The directory is locked to one process by the composition root. Does not own what an entry means (`ingest.derive`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ingest.changes import LoopChanges
from ingest.derive import did_of
from ingest.log import Appended, Head, Reason, Rejected
from ingest.log_sqlite_batch import Batch
from ingest.log_sqlite_index import SqliteIndex
from ingest.log_sqlite_rows import SELECT_FIREHOSE, SELECT_RECORDS, event_of_row, of_row
from ingest.log_sqlite_schema import OFFSET_MASK, SHARD_BITS, open_reader, open_writer, rows_of
from ingest.log_sqlite_start import read_ends, read_expansions, read_oldest
from ingest.log_tail import Tail
from ingest.log_truncate import Cut, truncate_step
from schemas.cid import Cid
from schemas.crash import point
from schemas.entries import Account, Commit, Derived, Diff, Entry, FirehoseEvent, RecordEntry, Sync
from schemas.entry_codec import decode
from schemas.errors import InvariantError
from schemas.topics import shard_of

MAX_BATCH = 512
MAX_BATCH_BYTES = 16 << 20
MAX_WAITING = 4096
MAX_WAITING_BYTES = 64 << 20
MAX_READ = 5000
TAIL_ENTRIES = 8192
TAIL_BYTES = 8 << 20


class LogStoppedError(InvariantError):
    """The log has stopped. `outcome` says of an entry whether it may be in the log: "unknown" or "absent"."""

    def __init__(self, outcome: str, cause: BaseException | None) -> None:
        super().__init__(
            f"the log has stopped ({cause!r}); this entry's outcome is {outcome}: end the process, mend the disk or "
            "report the fault, and start again"
        )
        self.outcome = outcome


class _Group:
    __slots__ = ("entries", "future", "shards", "size")

    def __init__(
        self, entries: Sequence[Entry], shards: list[int], size: int, future: asyncio.Future[list[Appended]]
    ) -> None:
        self.entries = entries
        self.shards = shards
        self.size = size
        self.future = future


class SqliteLog:
    """`ingest.log.Log`; make one with `await SqliteLog.open(...)`."""

    def __init__(
        self,
        path: Path,
        *,
        shards: int = 1,
        first_seq: int = 1,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        max_accounts: int = 8192,
    ) -> None:
        self._now = now
        self._shards = shards
        self._writer = open_writer(path, shards=shards, first_seq=first_seq)
        self._reader = open_reader(path)
        self._index = SqliteIndex(self._reader, max_accounts)
        self._ends = read_ends(self._writer, shards)
        self._oldest = read_oldest(self._reader)
        self._expansions = read_expansions(self._writer)
        self._tails: list[Tail[Derived]] = [Tail(end, TAIL_ENTRIES, TAIL_BYTES) for end in self._ends.records]
        self._events: Tail[FirehoseEvent] = Tail(self._ends.seq, TAIL_ENTRIES, TAIL_BYTES)
        self._changed = LoopChanges(lambda: self._ends.records, lambda: self._ends.seq)
        self._waiting: deque[_Group] = deque()
        self._waiting_bytes = 0
        self._cuts: deque[tuple[Cut, asyncio.Future[int]]] = deque()
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._failure: BaseException | None = None
        self._thread = ThreadPoolExecutor(1, "headrace-log")
        self.rejected: Counter[Reason] = Counter()
        self.appended = 0
        self._task = asyncio.get_running_loop().create_task(self._run(), name="headrace-log")

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        shards: int = 1,
        first_seq: int = 1,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        max_accounts: int = 8192,
    ) -> SqliteLog:
        """Open or create the log at `path` and finish what a crash left half done.

        `first_seq` is the first seq of a new log: above every one served before it. Raises InvariantError when the
        file is of another number of shards.
        """
        log = cls(path, shards=shards, first_seq=first_seq, now=now, max_accounts=max_accounts)
        while log._expansions and log._failure is None:
            await log._changed.next()
        return log

    # Appending.

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
        size = sum(map(_size, entries))
        while len(self._waiting) >= MAX_WAITING or (self._waiting and self._waiting_bytes + size > MAX_WAITING_BYTES):
            self._room.clear()
            await self._room.wait()
        if self._closing:
            raise LogStoppedError("absent", self._failure)
        shards = [0 if self._shards == 1 else shard_of(did_of(entry), self._shards) for entry in entries]
        group = _Group(entries, shards, size, asyncio.get_running_loop().create_future())
        self._waiting.append(group)
        self._waiting_bytes += size
        self._work.set()
        return await group.future

    # Reading.

    @property
    def shards(self) -> int:
        return self._shards

    @property
    def changed(self) -> LoopChanges:
        return self._changed

    def records_end(self, shard: int) -> int:
        return self._ends.records[shard]

    async def read_records(self, shard: int, after: int, limit: int) -> list[Derived]:
        """HOT: from memory if `after` is not far behind."""
        found = self._tails[shard].read(after, limit)
        if found is not None:
            return found
        low, high = shard << SHARD_BITS | after, (shard + 1) << SHARD_BITS
        return [of_row(row) for row in rows_of(self._reader, SELECT_RECORDS, (low, high, min(limit, MAX_READ)))]

    def commits_end(self, shard: int) -> int:
        return self._ends.commits[shard]

    async def read_commits(self, shard: int, after: int, limit: int) -> list[tuple[int, Entry]]:
        low, high = shard << SHARD_BITS | after, (shard + 1) << SHARD_BITS
        sql = "SELECT id, body FROM commits WHERE id>? AND id<? ORDER BY id LIMIT ?"
        rows = rows_of(self._reader, sql, (low, high, min(limit, MAX_READ)))
        return [(at & OFFSET_MASK, decode(body)) for at, body in rows]

    async def read_firehose(self, after_seq: int, limit: int) -> list[FirehoseEvent]:
        """HOT: from memory if `after_seq` is not far behind."""
        found = self._events.read(after_seq, limit)
        if found is not None:
            return found
        return [event_of_row(row) for row in rows_of(self._reader, SELECT_FIREHOSE, (after_seq, min(limit, MAX_READ)))]

    def firehose_bounds(self) -> tuple[int, int, int]:
        """(oldest seq, newest seq, oldest time); the oldest are 0 when none is kept."""
        return (self._oldest[0], self._ends.seq, self._oldest[1])

    def head(self, did: str) -> Head | None:
        return self._index.head(did)

    def record(self, did: str, path: str) -> tuple[Cid, bytes, int] | None:
        return self._index.record(did, path)

    def paths(self, did: str, collection: str | None = None, after: str = "", limit: int = 1000) -> list[str]:
        return self._index.paths(did, collection, after, limit)

    # Keeping.

    async def truncate(
        self, *, commits: Mapping[str, Mapping[int, int]], records: Mapping[str, Mapping[int, int]], now: int
    ) -> int:
        """Drop what no consumer needs any more (`ingest.log_truncate`); returns the number of rows dropped.

        `commits` and `records` map the consumers of each topic to their offset per shard. In small transactions,
        between the batches.
        """
        if self._closing:
            raise LogStoppedError("absent", self._failure)
        dropped = 0
        cut = Cut(now, commits, records)
        while True:
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._cuts.append((cut, future))
            self._work.set()
            count = await future
            if not count:
                return dropped
            dropped += count

    async def stopped(self) -> BaseException:
        """Waits until the log has stopped by itself, and says why; the composition root ends the process then."""
        await asyncio.wait((self._task,))
        if self._failure is None:
            await asyncio.Event().wait()
        assert self._failure is not None
        return self._failure

    async def close(self) -> None:
        """Write what waits, then close the file."""
        self._closing = True
        self._work.set()
        await asyncio.wait((self._task,))
        self._thread.shutdown()
        self._reader.close()
        if self._failure is None:
            self._writer.close()

    # The writer.

    async def _run(self) -> None:
        try:
            while not self._closing or self._waiting or self._cuts:
                if not self._waiting and not self._cuts and not self._expansions:
                    self._work.clear()
                    await self._work.wait()
                    continue
                if self._waiting or self._expansions:
                    await self._write_batch()
                if self._cuts:
                    await self._cut()
        except Exception as error:  # noqa: BLE001 - whatever it is, this log writes nothing more
            self._stop(error)

    async def _write_batch(self) -> None:
        """HOT: one transaction."""
        batch = Batch(self._writer, self._index, self._ends, self._now())
        for shard, left in self._expansions.items():
            batch.step(shard, left)
        taken: list[_Group] = []
        try:
            results = self._judge(batch, taken)
            point("log.before_insert")
            self._writer.execute("BEGIN IMMEDIATE")
            batch.write(self._writer)
            point("log.before_commit")
            await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.execute, "COMMIT")
            point("log.after_commit")
        except Exception as error:
            for group in taken:
                if not group.future.done():
                    group.future.set_exception(LogStoppedError("unknown", error))
            raise
        self._publish(batch)
        for group, result in zip(taken, results, strict=True):
            if group.future.done():  # its appender was cancelled; the entry stands
                continue
            if isinstance(result, Rejected):
                group.future.set_exception(result)
            else:
                group.future.set_result(result)
        if self._expansions:
            point("derive.mid_expansion")
        self._changed.notify()

    def _judge(self, batch: Batch, taken: list[_Group]) -> list[list[Appended] | Rejected]:
        """Take from the queue what this transaction may hold; groups of a busy shard wait, in order."""
        results: list[list[Appended] | Rejected] = []
        waiting = self._waiting
        busy = {shard for shard, left in batch.expansions.items() if left is not None}
        passed: list[_Group] = []
        room = MAX_BATCH_BYTES
        while waiting and len(taken) < MAX_BATCH and room > 0:
            group = waiting.popleft()
            if busy and not busy.isdisjoint(group.shards):
                passed.append(group)
                busy.update(group.shards)
                if len(busy) == self._shards:
                    break
                continue
            taken.append(group)
            room -= group.size
            results.append(batch.add(group.entries, group.shards))
            if len(batch.expansions) > 0:
                busy.update(shard for shard, left in batch.expansions.items() if left is not None)
        waiting.extendleft(reversed(passed))
        self._waiting_bytes -= sum(group.size for group in taken)
        self._room.set()
        return results

    def _publish(self, batch: Batch) -> None:
        """HOT: the batch is durable; let it be seen."""
        self._index.committed(batch.known_here, batch.numbers)
        self._ends = batch.ends
        tails = self._tails
        for shard, entry in batch.derived:
            value = entry.value if isinstance(entry, RecordEntry) else None
            tails[shard].push(entry, 256 if value is None else 256 + len(value))
        for event in batch.events:
            self._events.push(event, 256 + len(event.tail))
        if not self._oldest[0] and batch.events:
            self._oldest = (batch.events[0].seq, batch.events[0].time)
        for shard, left in batch.expansions.items():
            if left is None:
                self._expansions.pop(shard, None)
            else:
                self._expansions[shard] = left
        self.appended += len(batch.commits)
        self.rejected.update(batch.rejected)

    async def _cut(self) -> None:
        cut, future = self._cuts.popleft()
        held = {shard: min((left.source, *left.chunks)) & OFFSET_MASK for shard, left in self._expansions.items()}
        step = partial(truncate_step, self._writer, cut, self._ends, held)
        count = await asyncio.get_running_loop().run_in_executor(self._thread, step)
        self._oldest = read_oldest(self._reader)
        if not future.done():
            future.set_result(count)

    def _stop(self, error: BaseException) -> None:
        """Nothing is written after this."""
        self._failure = error
        self._closing = True
        self._room.set()
        for group in self._waiting:
            if not group.future.done():
                group.future.set_exception(LogStoppedError("absent", error))
        for _, future in self._cuts:
            if not future.done():
                future.set_exception(LogStoppedError("absent", error))
        self._waiting.clear()
        self._cuts.clear()
        self._changed.notify()


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
