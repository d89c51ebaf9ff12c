"""The one writer of the SQLite log: a bounded queue, and the task that turns what waits into transactions.

1. One task takes all that waits, judges and writes it on the loop in one transaction, and commits in a thread (the
   fsync runs without the GIL) while the next batch gathers. One group alone is committed on the loop while commits
   are quick: two hand-offs would cost more than the fsync.
2. Only then are ends and heads advanced, futures resolved and readers woken: nobody sees what a power cut could take.
3. A batch that fails leaves its outcome unknown: its futures say so, and nothing is written any more. What is true is
   read from the file at the next start.
4. A shard with a half-done expansion takes nothing else until it is done; other shards go on. Its appender is
   answered at the end: what it asked for is then in `records` and in the index.

Does not own what an entry means (`ingest.derive`) nor what a batch writes (`ingest.log_sqlite.batch`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic

import apsw
import msgspec

from ingest.log import Appended, Reason, Rejected
from ingest.log_sqlite.batch import Batch, Ends, Expansion, Result
from ingest.log_sqlite.checkpoint import Checkpointer
from ingest.log_sqlite.index import SqliteIndex
from ingest.log_sqlite.schema import OFFSET_MASK
from ingest.log_truncate import Cut, truncate_step
from schemas.crash import point
from schemas.entries import Entry
from schemas.errors import InvariantError
from schemas.operations import Operation

MAX_BATCH = 512
MAX_BATCH_BYTES = 16 << 20
MAX_WAITING = 4096
INLINE_SECONDS = 0.0005  # how long the loop may stand still for a commit
_PAUSE_FADES = 0.95  # a commit
MAX_WAITING_BYTES = 64 << 20


class LogStoppedError(InvariantError):
    """The log has stopped. `outcome` says of an entry whether it may be in the log: "unknown" or "absent"."""

    def __init__(self, outcome: str, cause: BaseException | None) -> None:
        super().__init__(
            f"the log has stopped ({cause!r}); this entry's outcome is {outcome}: end the process, mend the disk or "
            "report the fault, and start again"
        )
        self.outcome = outcome


class Group:
    """Entries that go in together, or an operation, with their shards and about how many bytes they hold."""

    __slots__ = ("entries", "future", "shards", "size")

    def __init__(self, entries: Sequence[Entry] | Operation, shards: list[int], size: int) -> None:
        self.entries = entries
        self.shards = shards
        self.size = size
        self.future: asyncio.Future[list[Appended]] = asyncio.get_running_loop().create_future()


class Writer:
    """`published` is called with every batch that is durable, after `ends` and heads and before its futures.

    `committed` is told how many entries a commit held, and the seconds it took.
    """

    def __init__(
        self,
        con: apsw.Connection,
        index: SqliteIndex,
        checkpointer: Checkpointer,
        ends: Ends,
        expansions: dict[int, Expansion],
        *,
        now: Callable[[], int],
        step: int,
        published: Callable[[Batch], None],
        committed: Callable[[int, float], None],
    ) -> None:
        self._con = con
        self._index = index
        self._checkpointer = checkpointer
        self._now = now
        self._step = step
        self._published = published
        self._committed = committed
        self._took = 0.0
        self._waiting: deque[Group] = deque()
        self._waiting_bytes = 0
        self._cuts: deque[tuple[Cut, asyncio.Future[int]]] = deque()
        self._expanding: dict[int, tuple[Group, Result]] = {}
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, "headrace-log")
        self._pause = INLINE_SECONDS
        self.ends = ends
        self.expansions = expansions
        self.failure: BaseException | None = None
        self.rejected: Counter[Reason] = Counter()
        self.appended = 0
        self.task = asyncio.get_running_loop().create_task(self._run(), name="headrace-log")

    @property
    def waiting(self) -> int:
        """Groups in the queue: at most `MAX_WAITING`."""
        return len(self._waiting)

    async def put(self, group: Group) -> list[Appended]:
        """Wait for room in the queue, and then for the outcome."""
        size = group.size
        while len(self._waiting) >= MAX_WAITING or (self._waiting and self._waiting_bytes + size > MAX_WAITING_BYTES):
            self._room.clear()
            await self._room.wait()
        self._check_open()
        self._waiting.append(group)
        self._waiting_bytes += size
        self._work.set()
        return await group.future

    async def cut(self, cut: Cut) -> int:
        """One step of a truncation, between two batches; the number of rows dropped."""
        self._check_open()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._cuts.append((cut, future))
        self._work.set()
        return await future

    async def finish(self) -> None:
        """Write what waits, and end; the connection stays open, to be closed last."""
        self._closing = True
        self._work.set()
        await asyncio.wait((self.task,))
        await self._checkpointer.close()
        self._thread.shutdown()

    def _check_open(self) -> None:
        if self._closing:
            raise LogStoppedError("absent", self.failure)

    async def _run(self) -> None:
        try:
            while not self._closing or self._waiting or self._cuts or self._expanding:
                if not self._waiting and not self._cuts and not self.expansions:
                    self._work.clear()
                    await self._work.wait()
                    continue
                if self._waiting or self.expansions:
                    await self._write_batch()
                if self._cuts:
                    await self._cut()
                await self._checkpointer.turn(self._thread)
        except Exception as error:  # noqa: BLE001 - whatever it is, this log writes nothing more
            self._stop(error)

    async def _write_batch(self) -> None:
        """HOT: one transaction."""
        batch = Batch(self._con, self._index, self.ends, self._now(), self._step)
        taken: list[Group] = []
        finished: list[tuple[int, int]] = []
        try:
            for shard, left in self.expansions.items():
                batch.step(shard, left)
                if batch.expansions[shard] is None:
                    finished.append((shard, batch.ends.records[shard]))
            results, holding = self._judge(batch, taken)
            point("log.before_insert")
            self._con.execute("BEGIN IMMEDIATE")
            batch.write(self._con)
            point("log.before_commit")
            if len(taken) == 1 and not self._waiting and self._pause < INLINE_SECONDS:
                self._commit()
            else:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._commit)
            point("log.after_commit")
            self._committed(len(batch.commits) + len(batch.operations), self._took)
        except Exception as error:
            for group in taken:
                if not group.future.done():
                    group.future.set_exception(LogStoppedError("unknown", error))
            raise
        self._publish(batch)
        for shard, end in finished:
            if shard in self._expanding:  # else it was begun before a restart
                group, result = self._expanding.pop(shard)
                assert not isinstance(result, Rejected)
                result[-1] = msgspec.structs.replace(result[-1], records_end=end)
                _settle(group, result)
        for group, result in zip(taken, results, strict=True):
            if group in holding:
                self._expanding[holding[group]] = (group, result)
            else:
                _settle(group, result)
        if self.expansions:
            point("derive.mid_expansion")

    def _commit(self) -> None:
        """Takes as long as the disk does; `_pause` is the longest of late."""
        begun = monotonic()
        self._con.execute("COMMIT")
        self._took = took = monotonic() - begun
        self._pause = max(took, self._pause * _PAUSE_FADES)

    def _judge(self, batch: Batch, taken: list[Group]) -> tuple[list[Result], dict[Group, int]]:
        """Take from the queue what this transaction may hold; groups of a busy shard wait, in order.

        Also says which groups began an expansion that is not done, and in which shard.
        """
        results: list[Result] = []
        holding: dict[Group, int] = {}
        waiting = self._waiting
        busy = batch.busy()
        passed: list[Group] = []
        room = MAX_BATCH_BYTES
        shards = len(self.ends.commits)
        while waiting and len(taken) < MAX_BATCH and room > 0 and len(busy) < shards:
            group = waiting.popleft()
            if busy and not busy.isdisjoint(group.shards):
                passed.append(group)
                busy.update(group.shards)
                continue
            taken.append(group)
            room -= group.size
            entries = group.entries
            if isinstance(entries, Operation):
                results.append(batch.operate(entries, group.shards[0]))
            else:
                results.append(batch.add(entries, group.shards))
            if batch.expansions:
                holding.update((group, shard) for shard in batch.busy() - busy)
                busy |= batch.busy()
        waiting.extendleft(reversed(passed))
        self._waiting_bytes -= sum(group.size for group in taken)
        self._room.set()
        return results, holding

    def _publish(self, batch: Batch) -> None:
        """The batch is durable; let it be seen."""
        self._index.committed(batch.known_here, batch.numbers)
        self.ends = batch.ends
        for shard, left in batch.expansions.items():
            if left is None:
                self.expansions.pop(shard, None)
            else:
                self.expansions[shard] = left
        self.appended += len(batch.commits)
        self.rejected.update(batch.rejected)
        self._published(batch)

    async def _cut(self) -> None:
        cut, future = self._cuts.popleft()
        held = {shard: min((left.source, *left.chunks)) & OFFSET_MASK for shard, left in self.expansions.items()}
        step = partial(truncate_step, self._con, cut, self.ends, held)
        try:
            count = await asyncio.get_running_loop().run_in_executor(self._thread, step)
        except Exception as error:
            if not future.done():
                future.set_exception(LogStoppedError("unknown", error))
            raise
        if not future.done():
            future.set_result(count)

    def _stop(self, error: BaseException) -> None:
        """Nothing is written after this."""
        self.failure = error
        self._closing = True
        self._room.set()
        for group in self._waiting:
            if not group.future.done():
                group.future.set_exception(LogStoppedError("absent", error))
        for group, _ in self._expanding.values():
            if not group.future.done():
                group.future.set_exception(LogStoppedError("unknown", error))
        for _, future in self._cuts:
            if not future.done():
                future.set_exception(LogStoppedError("absent", error))
        self._waiting.clear()
        self._cuts.clear()


def _settle(group: Group, result: Result) -> None:
    if group.future.done():  # its appender was cancelled; what it did stands
        return
    if isinstance(result, Rejected):
        group.future.set_exception(result)
    else:
        group.future.set_result(result)
