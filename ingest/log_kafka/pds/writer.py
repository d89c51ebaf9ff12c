"""A PDS's one writer of `commits`: a bounded queue, and the task that turns what waits into Kafka transactions.

1. One task takes all that waits, judges it against the heads as they will be, stamps its time and commits it in one
   transaction. What follows gathers meanwhile. The next one begins `GATHER` seconds after: sooner, the broker is still
   writing the last one's markers, and aiokafka waits 20 ms before it asks again (tests/bench/kafka_append.py).
2. Only when the transaction is committed are heads advanced and futures resolved.
3. Anything else leaves the outcome unknown: what was sent says so, what waits is refused, and `recover` is awaited
   before anything is taken again. Whoever was replaced stops there, for good.
4. A transaction of checkpoints alone goes out when there is nothing else: by it, who was replaced learns of it.

Does not own the judgement (`ingest.verdict`), the heads' file, nor what a recovery does (`recovery.py`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic

import msgspec
import structlog
from aiokafka import TopicPartition

from ingest.derive import did_of
from ingest.log import Appended, Head, LogAwayError, Reason, Rejected
from ingest.log_kafka.pds.fold import PDS_HEADER
from ingest.log_kafka.pds.heads import OwnHeads
from ingest.log_kafka.pds.txn import OutcomeUnknownError, Outgoing, Transactions
from ingest.next_head import next_head
from ingest.verdict import Reject, accept
from schemas import tracing
from schemas.entries import Entry
from schemas.entry_codec import encode
from schemas.errors import InvariantError
from schemas.syntax import Did
from schemas.topics import COMMITS, shard_of

GATHER = 0.003
HEARTBEAT = 2.0
MAX_BATCH = 512
MAX_BATCH_BYTES = 8 << 20
MAX_WAITING = 4096

_log = structlog.get_logger()


class StoppedError(InvariantError):
    """The log of this PDS takes nothing any more."""

    def __init__(self, cause: BaseException | None) -> None:
        super().__init__(f"the PDS's log has stopped ({cause!r}): end the process, and start it again if it is the one")


class Group:
    """Entries that go in together."""

    __slots__ = ("dids", "entries", "future", "shards", "trace")

    def __init__(self, entries: Sequence[Entry], shards: int, trace: bytes | None = None) -> None:
        self.trace = trace
        self.entries = entries
        self.dids = [did_of(entry) for entry in entries]
        self.shards = [shard_of(did, shards) for did in self.dids]
        self.future: asyncio.Future[list[Appended]] = asyncio.get_running_loop().create_future()


class Batch(msgspec.Struct):
    """What one transaction holds."""

    groups: list[Group] = []
    messages: list[Outgoing] = []
    times: list[int] = []
    heads: dict[Did, Head | None] = {}

    @property
    def dids(self) -> set[Did]:
        return {did for group in self.groups for did in group.dids}

    @property
    def shards(self) -> set[int]:
        return {message.shard for message in self.messages}


class Writer:
    """`recover` is given what was sent and the error, and returns when its outcome is known, or raises to stop.

    `checkpoints` gives the offsets to publish under `group`; `committed` is told entries and seconds of each commit.
    """

    def __init__(
        self,
        txns: Transactions,
        heads: OwnHeads,
        *,
        name: str,
        shards: int,
        group: str,
        now: Callable[[], int],
        recover: Callable[[Batch, OutcomeUnknownError], Awaitable[None]],
        checkpoints: Callable[[], Awaitable[Mapping[TopicPartition, int]]],
        committed: Callable[[int, float], None],
    ) -> None:
        self._txns = txns
        self._heads = heads
        self._headers = [(PDS_HEADER, name.encode())]
        self._shards = shards
        self._group = group
        self._now = now
        self._recover = recover
        self._checkpoints = checkpoints
        self._committed = committed
        self._waiting: deque[Group] = deque()
        self._work = asyncio.Event()
        self._closing = False
        self._last = 0.0
        self._asked = float("-inf")
        """When checkpoints were last asked for, whether or not there were any."""
        self.closed: set[Did] = set()
        """Accounts that take no entries until they have been read back."""
        self.away = False
        """Whether an outcome is unknown: nothing is taken until it is known."""
        self.failure: BaseException | None = None
        self.idle = asyncio.Lock()
        """Held while a transaction is under way."""
        self.rejected: Counter[Reason] = Counter()
        self.appended = self.transactions = self.unknown = 0
        self.task = asyncio.get_running_loop().create_task(self._run(), name="pds-log")

    async def put(self, entries: Sequence[Entry], trace: bytes | None = None) -> list[Appended]:
        """`trace` goes along with them, as a header. Raises Rejected, LogAwayError, StoppedError."""
        if self._closing:
            raise StoppedError(self.failure)
        if self.away:
            raise LogAwayError("absent", "the log is away; try again later")
        if len(self._waiting) >= MAX_WAITING:
            raise LogAwayError("absent", f"{MAX_WAITING} writes wait for the log already; try again later")
        group = Group(entries, self._shards, trace)
        self._waiting.append(group)
        self._work.set()
        return await group.future

    async def finish(self) -> None:
        """Write what waits, publish the checkpoints and end; a log that is away is not waited for."""
        self._closing = True
        self._work.set()
        if self.away:
            self.task.cancel()
        await asyncio.wait((self.task,))
        self._refuse_waiting(StoppedError(self.failure))

    async def _run(self) -> None:
        try:
            while not self._closing or self._waiting:
                await self._gathered()
                async with self.idle:
                    await self._transact()
            async with self.idle:
                await self._publish_last()
        except Exception as error:  # noqa: BLE001 - whatever it is, this log writes nothing more
            self.failure = error
            self._closing = True
            self._refuse_waiting(StoppedError(error))

    async def _gathered(self) -> None:
        """Until there is work, or the checkpoints are due; never sooner than `GATHER` after the last transaction."""
        if not self._waiting and not self._closing:
            self._work.clear()
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + self._due()):
                    await self._work.wait()
            except TimeoutError:
                return
        early = GATHER - (monotonic() - self._last)
        if early > 0:
            await asyncio.sleep(early)

    def _due(self) -> float:
        return max(0.0, HEARTBEAT - (monotonic() - self._asked))

    async def _transact(self) -> None:
        """HOT: one transaction."""
        batch = self._judged()
        try:
            if not batch.messages:
                await self._txns.look()
            offsets: Mapping[TopicPartition, int] = {}
            if not self._due():
                offsets = await self._checkpoints()
                self._asked = monotonic()
            if not batch.messages and not offsets:
                return
            begun = monotonic()
            places = await self._commit(batch, offsets)
        except OutcomeUnknownError as error:
            await self._lose(batch, error)
            return
        self._last = monotonic()
        self._settle(batch, [place + 1 for place in places], self._last - begun)

    async def _commit(self, batch: Batch, offsets: Mapping[TopicPartition, int]) -> list[int]:
        commit = self._txns.commit(batch.messages, self._group, offsets)
        if tracing.TRACER is None or not (traces := [group.trace for group in batch.groups if group.trace is not None]):
            return await commit
        with tracing.TRACER.batch("kafka transaction", traces, {"messaging.batch.message_count": len(batch.messages)}):
            return await commit

    def _judged(self) -> Batch:
        batch, size = Batch(), 0
        clock = self._heads.time
        while self._waiting and len(batch.messages) < MAX_BATCH and size < MAX_BATCH_BYTES:
            group = self._waiting.popleft()
            if group.future.done():  # its appender was cancelled
                continue
            heads: dict[Did, Head | None] = {}
            headers = self._headers if group.trace is None else [*self._headers, (tracing.HEADER, group.trace)]
            messages, times = [], []
            try:
                for did, shard, entry in zip(group.dids, group.shards, group.entries, strict=True):
                    clock = max(clock + 1, self._now())
                    stamped = msgspec.structs.replace(entry, time=clock)
                    before = heads[did] if did in heads else batch.heads.get(did, self._heads.get(did))
                    heads[did] = self._accepted(did, before, stamped)
                    messages.append(Outgoing(COMMITS, shard, did.encode(), encode(stamped), headers))
                    times.append(clock)
            except (Rejected, LogAwayError) as refused:
                group.future.set_exception(refused)
                continue
            batch.groups.append(group)
            batch.heads.update(heads)
            batch.messages += messages
            batch.times += times
            size += sum(len(message.value or b"") for message in messages)
        return batch

    def _accepted(self, did: Did, head: Head | None, entry: Entry) -> Head | None:
        if did in self.closed:
            raise LogAwayError("absent", f"{did} was written to elsewhere and is being read back; try again later")
        verdict = accept(head, entry)
        if isinstance(verdict, Reject):
            self.rejected[verdict.reason] += 1
            raise Rejected(verdict.reason, verdict.detail, head)
        return next_head(head, entry, partial=verdict.partial)

    def _settle(self, batch: Batch, offsets: list[int], seconds: float) -> None:
        """The batch is committed; let it be seen."""
        if not batch.messages:
            return
        self.appended += len(offsets)
        self.transactions += 1
        complete = {message.shard: offset for message, offset in zip(batch.messages, offsets, strict=True)}
        try:
            self._heads.put(batch.heads, complete, time=batch.times[-1])
        except Exception as error:
            for group in batch.groups:
                if not group.future.done():
                    group.future.set_exception(StoppedError(error))
            raise
        self._committed(len(offsets), seconds)
        at = 0
        for group in batch.groups:
            places = zip(group.shards, offsets[at:], batch.times[at:], strict=False)
            at += len(group.entries)
            if not group.future.done():
                group.future.set_result([Appended(shard, offset, None, time, 0) for shard, offset, time in places])

    async def _lose(self, batch: Batch, error: OutcomeUnknownError) -> None:
        self.away = True
        self.unknown += 1
        _log.error("a transaction's outcome is unknown", entries=len(batch.messages), cause=str(error))
        unknown = "the outcome of this write is not known; read before trying again"
        for group in batch.groups:
            if not group.future.done():
                group.future.set_exception(LogAwayError("unknown", unknown))
        self._refuse_waiting(LogAwayError("absent", "the log is away; try again later"))
        await self._recover(batch, error)
        self.away = False

    @property
    def waiting(self) -> int:
        """Groups in the queue: at most `MAX_WAITING`."""
        return len(self._waiting)

    def _refuse_waiting(self, error: Exception) -> None:
        while self._waiting:
            future = self._waiting.popleft().future
            if not future.done():
                future.set_exception(error)

    async def _publish_last(self) -> None:
        try:
            await self._txns.commit((), self._group, await self._checkpoints())
        except OutcomeUnknownError as error:
            _log.warning("the last checkpoints are not published: the next start reads some more", cause=str(error))
