"""What a PDS does not know of the log, read there: at a start, and when a transaction's outcome is unknown.

`commits` is read from where the heads reach to its end, and folded into them. At a start nothing is served before; an
outcome is settled by starting the producer again first, which ends the transaction one way or the other. Does not own
transactions (`txn.py`), who stands for a PDS's name (`instance.py`) nor what an entry does to a head (`fold.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog
from aiokafka.errors import KafkaError

from ingest.log import Head, LogAwayError
from ingest.log_kafka.pds.fold import fold
from ingest.log_kafka.pds.heads import OwnHeads
from ingest.log_kafka.pds.instance import Instance, ReplacedError
from ingest.log_kafka.pds.read import ShardReader
from ingest.log_kafka.pds.txn import OutcomeUnknownError
from ingest.log_kafka.pds.writer import Batch
from schemas.entries import Entry
from schemas.syntax import Did
from schemas.topics import shard_of

SETTLE_SECONDS = 30.0
_BACKOFF_SECONDS = 0.5

_log = structlog.get_logger()


class Recovery:
    """`replay` is given, by offset, the entries of ours that turned out to be in the log."""

    def __init__(
        self,
        name: str,
        heads: OwnHeads,
        *,
        commits: ShardReader,
        instance: Instance,
        shards: int,
        replay: Callable[[Sequence[tuple[int, Entry]]], Awaitable[None]],
    ) -> None:
        self._name = name
        self._heads = heads
        self._commits = commits
        self._instance = instance
        self._shards = shards
        self._replay = replay
        self.ends = [0] * shards
        """By shard, while an outcome is unknown: the offset up to which our entries are in heads, and replayed."""
        self._lost_before = [0] * shards
        """By shard, the offset up to which `commits` was truncated before it was read here."""
        self._unsure: set[Did] = set()
        self._replaced = False
        self._known = asyncio.Condition()

    async def catch_up(self) -> None:
        """At a start, after the fence: what is in now is all that the former process can ever have been told of."""
        begins, ends = await self._commits.begins(), await self._commits.ends()
        if self._heads.fresh:
            self._heads.put({}, dict(enumerate(ends)))
            return
        for shard, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            complete = self._heads.complete[shard]
            if complete < begin:
                self._lost_before[shard] = begin
            async for page in self._commits.read(shard, max(begin, complete), end):
                accepted, heads = fold(self._heads, self._name, page)
                self._heads.put(heads, {shard: page[-1].offset}, time=_newest(accepted))
            self._heads.put({}, {shard: max(complete, end)})

    def is_lost(self, did: Did) -> bool:
        """Whether its head may be too old to go on from: what followed it was truncated before it was read."""
        return self._lost_before[shard_of(did, self._shards)] > 0

    async def settle(self, batch: Batch, error: OutcomeUnknownError) -> None:
        """Settle an unknown outcome, however long it takes. Raises ReplacedError."""
        self.ends = list(self._heads.complete)
        self._unsure |= batch.dids
        fenced, tries = error.fenced, 0
        while True:
            try:
                await self._instance.restart(polite=fenced)
                await self._read_on(batch.shards)
                break
            except ReplacedError:
                async with self._known:
                    self._replaced = True
                    self._known.notify_all()
                raise
            except (KafkaError, OSError, TimeoutError, LogAwayError) as away:
                fenced = False
                if tries % 20 == 0:
                    _log.critical("the log is away: writes are refused", cause=repr(away), tries=tries)
                tries += 1
                await asyncio.sleep(_BACKOFF_SECONDS)
        async with self._known:
            self._unsure.clear()
            self._known.notify_all()
        _log.warning("the unknown outcome is settled", accounts=len(batch.dids))

    async def _read_on(self, shards: Collection[int]) -> None:
        """Read what lies beyond what is known, and replay what is ours."""
        ends = await self._commits.ends()
        for shard in shards:
            found: list[tuple[int, Entry]] = []
            after, end = self._heads.complete[shard], ends[shard]
            heads: dict[Did, Head] = {}
            async for page in self._commits.read(shard, after, end):
                accepted, more = fold(self._heads, self._name, page, heads)
                found += accepted
                heads = more
            self._heads.put(heads, {shard: max(after, end)}, time=_newest(found))
            if found:
                await self._replay(found)

    async def settled(self, did: Did) -> None:
        """When no outcome of its writes is unknown. Raises LogAwayError when that takes long."""
        if did not in self._unsure:
            return
        try:
            async with asyncio.timeout(SETTLE_SECONDS), self._known:
                await self._known.wait_for(lambda: did not in self._unsure or self._replaced)
        except TimeoutError as late:
            raise LogAwayError("absent", f"the log has not told of {did}; try again later") from late
        if self._replaced:
            raise LogAwayError("absent", "this process was replaced by another, and ends")


def _newest(entries: Sequence[tuple[int, Entry]]) -> int:
    return max((entry.time for _, entry in entries), default=0)
