"""The three stages of all shards of one process: entries in, one batch out, nothing left between.

The hops' queues live in memory and are empty when a batch ends, so that rows, before-images, marks and progress can
be one transaction (EXACTNESS 24). Does not own reading the log, committing, nor when to do either.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from time import perf_counter as clock

from processors import operating
from processors.decode import Decoder
from processors.folding import Folder, fold_fan
from processors.marks import Marks
from processors.plan import Plan
from processors.step import Step
from schemas import crash
from schemas.entries import Derived
from schemas.errors import InvariantError
from schemas.operations import Operation
from schemas.topics import EDGES, FANOUT, OPERATIONS, RECORDS, shard_of
from views.overlay import Overlay
from views.record import authority
from views.store import Batch, Progress, Store
from views.view import Edge, Fan, FanoutSettings

_TURN_SECONDS = 0.002


class ProjectionError(InvariantError):
    """A view's own fault over one entry of the log: nothing behind it is taken until it is mended, or skipped."""

    def __init__(self, topic: str, shard: int, offset: int, cause: Exception) -> None:
        super().__init__(
            f"{topic}[{shard}]@{offset}: expected rows, a projection raised {cause!r}: mend it and start again, or"
            f" leave the entry out for good: headrace log skip {topic} {shard} {offset} --reason WHY"
        )


class Stages:
    """`begin`, `feed` as often as there is input, `finish`; one batch at a time. HOT."""

    def __init__(
        self,
        plan: Plan,
        decoder: Decoder,
        store: Store,
        progress: Progress,
        *,
        shards: int,
        settings: FanoutSettings,
    ) -> None:
        self._plan = plan
        self._decoder = decoder
        self._store = store
        self._shards = shards
        self._settings = settings
        self.marks = Marks(progress.marks)
        self._seen = dict(progress.vector)
        self._hop_ends = {(hop, s): self._seen.get((hop, s), 0) for hop in (EDGES, FANOUT) for s in range(shards)}
        self._edges: deque[tuple[int, int, Edge]] = deque()
        self._fans: deque[tuple[int, int, Fan]] = deque()
        self._folders = [Folder(plan, shard, shards, settings, self.send_fan) for shard in range(shards)]
        self._overlay = Overlay(store)
        self._taken: dict[tuple[str, int], int] = {}
        self._turn = 0.0
        self.fan_rows = 0
        """Timeline rows written, ever."""

    def begin(self) -> None:
        """Open a batch."""
        overlay = self._overlay = Overlay(self._store)
        for folder in self._folders:
            folder.begin(overlay)
        self._turn = clock()

    async def feed(self, shard: int, entries: Sequence[Derived], skipped: Collection[int] = ()) -> None:
        """Take entries of one shard, each above what was taken before, and all that follows from them.

        `skipped` are offsets that progress passes and nothing follows from.
        """
        await self._index(shard, entries, self._overlay, skipped)
        crash.point("views.after_index")
        await self._fold()
        crash.point("views.after_edges")
        await self._fan_out(self._overlay)

    def finish(self) -> Batch:
        """Close the batch; it is the caller's to apply before the next one begins."""
        batch = self._overlay.batch()
        batch.vector = {**self._hop_ends, **self._taken}
        self._taken = {}
        batch.marks = self.marks.take_changed()
        return batch

    def end(self) -> None:
        """Let go of the store: nothing is fed any more."""
        self._folders.clear()

    async def feed_operations(self, shard: int, operations: Sequence[Operation], skipped: Collection[int] = ()) -> None:
        """Take operations of one shard, each above what was taken before."""
        seen = self._seen.get((OPERATIONS, shard), 0)
        if operations:
            self._seen[OPERATIONS, shard] = self._taken[OPERATIONS, shard] = max(seen, operations[-1].offset)
        fresh = [each for each in operations if each.offset > seen and each.offset not in skipped]
        await operating.prepare(fresh, self._overlay)
        for operation in fresh:
            try:
                await operating.take(operation, self._plan, self._overlay)
            except Exception as error:
                raise ProjectionError(OPERATIONS, shard, operation.offset, error) from error
            if clock() - self._turn > _TURN_SECONDS:
                await self._yield()

    async def _index(
        self, shard: int, entries: Sequence[Derived], overlay: Overlay, skipped: Collection[int] = ()
    ) -> None:
        step = Step(self._plan, self._decoder, overlay, shard)
        seen = self._seen.get((RECORDS, shard), 0)
        if entries:
            self._seen[RECORDS, shard] = self._taken[RECORDS, shard] = max(seen, entries[-1].offset)
        for entry, record, invalid in await step.prepare(
            [entry for entry in entries if entry.offset > seen and entry.offset not in skipped], self._breathe
        ):
            try:
                await step.take(entry, record, invalid)
            except Exception as error:
                raise ProjectionError(RECORDS, shard, entry.offset, error) from error
            if clock() - self._turn > _TURN_SECONDS:
                await self._yield()
        for edge in step.messages:
            self.send_edge(edge)

    async def _fold(self) -> None:
        edges = self._edges
        by_shard: dict[int, list[Edge]] = {}
        for shard, _, edge in edges:
            by_shard.setdefault(shard, []).append(edge)
        for shard, some in by_shard.items():
            await self._folders[shard].prepare(some)
        while edges:
            shard, offset, edge = edges.popleft()
            if self.marks.admit(EDGES, shard, edge.src):
                try:
                    await self._folders[shard].fold(edge, offset)
                except Exception as error:
                    raise ProjectionError(*edge.src[:3], error) from error
            if clock() - self._turn > _TURN_SECONDS:
                await self._yield()

    async def _fan_out(self, overlay: Overlay) -> None:
        fans = self._fans
        while fans:
            shard, offset, fan = fans.popleft()
            if self.marks.admit(FANOUT, shard, fan.src):
                self.fan_rows += len(fan.readers) * len(fan.puts)
                await fold_fan(fan, offset, overlay, self._settings)
            if clock() - self._turn > _TURN_SECONDS:
                await self._yield()

    def send_edge(self, edge: Edge) -> None:
        """Append to the hop: the message gets its offset there."""
        shard = 0 if self._shards == 1 else shard_of(authority(edge.subject), self._shards)
        self._edges.append((shard, self._next_offset(EDGES, shard), edge))

    def send_fan(self, shard: int, fan: Fan) -> None:
        self._fans.append((shard, self._next_offset(FANOUT, shard), fan))

    def _next_offset(self, hop: str, shard: int) -> int:
        offset = self._hop_ends[hop, shard] + 1
        self._hop_ends[hop, shard] = offset
        return offset

    async def _breathe(self) -> None:
        if clock() - self._turn > _TURN_SECONDS:
            await self._yield()

    async def _yield(self) -> None:
        await asyncio.sleep(0)
        self._turn = clock()
