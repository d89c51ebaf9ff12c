"""What a lane does with a batch of each topic: messages into an overlay, and what they send on.

The same steps as in one process (`processors.batch`), one stage of one shard. Does not own order, sending nor saving.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from time import perf_counter as clock
from typing import Final, NamedTuple, Protocol

from processors import operating
from processors.batch import ProjectionError
from processors.decode import Decoder
from processors.folding import Folder, fold_fan
from processors.lanes.ahead import EDGES_AT_ONCE, read_ahead_of_edges, read_ahead_of_fans, read_together
from processors.lanes.density import Density, GapError, check_young
from processors.lanes.hop_codec import Watermark, decode, encode_edge, encode_fan
from processors.lanes.known import Known
from processors.lanes.watermarks import Place, Watermarks
from processors.marks import Mark, Marks
from processors.plan import Plan
from processors.step import Step
from processors.wanted import Wanted
from schemas import operations, records_codec
from schemas.entries import Derived
from schemas.errors import InvariantError
from schemas.topics import EDGES, FANOUT, OPERATIONS, RECORDS, shard_of
from views.overlay import Overlay
from views.overlay_versioned import VersionedOverlay
from views.record import authority
from views.store import Progress
from views.view import Edge, Fan, FanoutSettings

SOURCES: Final = frozenset((RECORDS, OPERATIONS))
"""The log's own topics, whose offsets have gaps: markers of transactions, and what compaction took."""
_TURN_SECONDS = 0.002

Onward = tuple[str, int, bytes, int]  # hop, shard, value, offset of the message it follows from (0: of none)


class Message(NamedTuple):
    """One message of a topic; `offset` is Kafka's + 1, `timestamp` Kafka's in ms (0: unknown)."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = 0


class Stage(Protocol):
    """One shard's; takes batches in order, each message once."""

    async def take(self, messages: Sequence[Message], overlay: VersionedOverlay) -> list[Onward]:
        """Write to the overlay; returns what is to be sent before any of it is saved, in order."""
        ...

    def changed(self) -> tuple[dict[Mark, tuple[int, int]], dict[Place, tuple[int, ...]]]:
        """Marks and watermarks that changed since the last call."""
        ...

    def vector(self, offset: int) -> tuple[int, ...]:
        """What a watermark of this lane says when it has saved `offset`; empty when it has nobody to tell."""
        ...


class _Turns:
    """Lets others run in between. HOT."""

    def __init__(self) -> None:
        self._turn = clock()

    async def breathe(self) -> None:
        if clock() - self._turn > _TURN_SECONDS:
            await asyncio.sleep(0)
            self._turn = clock()


class IndexStage:
    """`records`: before and after of each entry."""

    def __init__(
        self,
        shard: int,
        shards: int,
        plan: Plan,
        decoder: Decoder,
        saved: Progress,
        *,
        known: Known,
        skipped: Collection[int] = (),
        held: bool = False,
    ) -> None:
        self._known = known
        self._shard = shard
        self._shards = shards
        self._plan = plan
        self._decoder = decoder
        self._skipped = skipped
        self._place = (RECORDS, shard, shard)
        self.density = Density(shard, saved.watermarks.get(self._place, ()), held=held)

    async def take(self, messages: Sequence[Message], overlay: VersionedOverlay) -> list[Onward]:
        turns = _Turns()
        seen = None if self._skipped else self.density.highest_time

        async def read(wanted: Wanted, overlay: Overlay) -> None:
            await read_together(wanted, seen, self._known, overlay)

        step = Step(self._plan, self._decoder, overlay, self._shard, read)
        for entry, record, invalid in await step.prepare(self._entries(messages), turns.breathe):
            overlay.offset = entry.offset
            try:
                await step.take(entry, record, invalid)
            except Exception as error:
                raise ProjectionError(RECORDS, self._shard, entry.offset, error) from error
            await turns.breathe()
        shards = self._shards
        return [
            (EDGES, shard_of(authority(edge.subject), shards), encode_edge(edge), edge.src[2]) for edge in step.messages
        ]

    def _entries(self, messages: Sequence[Message]) -> list[Derived]:
        entries: list[Derived] = []
        now = time.time_ns() // 1_000_000
        for message in messages:
            try:
                entry = self._decoded(message)
            except InvariantError:
                if message.offset not in self._skipped:
                    raise
                self.density.skip()
                continue
            if entry is not None:
                self.density.take(entry.n, message.timestamp, entry.time, now)
                if message.offset not in self._skipped:
                    entries.append(entry)
        return entries

    def _decoded(self, message: Message) -> Derived | None:
        if message.key is None:
            raise InvariantError(f"records[{self._shard}]@{message.offset} has no key: it is not derive's")
        return records_codec.decode(message.key, message.value, message.headers, message.offset)

    def changed(self) -> tuple[dict[Mark, tuple[int, int]], dict[Place, tuple[int, ...]]]:
        return {}, {self._place: self.density.newest} if self.density.newest else {}

    def vector(self, offset: int) -> tuple[int, ...]:
        return (offset,)


class OperationsStage:
    """`operations`: before and after of each entry; nothing goes on from it, so that its offset is its vector."""

    def __init__(
        self, shard: int, plan: Plan, saved: Progress, *, skipped: Collection[int] = (), held: bool = False
    ) -> None:
        self._shard = shard
        self._plan = plan
        self._skipped = skipped
        self._resumed = bool(saved.vector.get((OPERATIONS, shard))) and not held

    async def take(self, messages: Sequence[Message], overlay: VersionedOverlay) -> list[Onward]:
        turns = _Turns()
        if messages and self._resumed:
            self._resumed = False
            check_young(OPERATIONS, self._shard, messages[0].timestamp, time.time_ns() // 1_000_000)
        found = [
            operations.decode(message.key, message.value, message.headers, message.offset)
            for message in messages
            if message.offset not in self._skipped
        ]
        await operating.prepare(found, overlay)
        for operation in found:
            overlay.offset = operation.offset
            try:
                await operating.take(operation, self._plan, overlay)
            except Exception as error:
                raise ProjectionError(OPERATIONS, self._shard, operation.offset, error) from error
            await turns.breathe()
        return []

    def changed(self) -> tuple[dict[Mark, tuple[int, int]], dict[Place, tuple[int, ...]]]:
        return {}, {}

    def vector(self, offset: int) -> tuple[int, ...]:  # noqa: ARG002 - nobody follows
        return ()


class _HopStage:
    """What both hops have in common: marks, watermarks, and offsets without holes."""

    topic = ""

    def __init__(self, shard: int, shards: int, saved: Progress, skipped: Collection[int]) -> None:
        self._shard = shard
        self._shards = shards
        self._skipped = skipped
        self._last = saved.vector.get((self.topic, shard), 0)
        self.marks = Marks(saved.marks)
        self.watermarks = Watermarks(self.topic, shard, saved.watermarks)

    def _admitted(self, messages: Sequence[Message]) -> list[tuple[int, Edge | Fan]]:
        found: list[tuple[int, Edge | Fan]] = []
        for message in messages:
            if message.offset != self._last + 1:
                raise GapError(
                    f"{self.topic}[{self._shard}]@{message.offset} comes after {self._last}: nothing may be missing"
                    " in a hop, which is truncated behind stored progress alone; build a new generation"
                )
            self._last = message.offset
            if message.offset in self._skipped:
                continue
            thing = decode(message.value or b"")
            if type(thing) is Watermark:
                self.watermarks.take(thing)
            elif type(thing) is not (Edge if self.topic == EDGES else Fan):
                raise InvariantError(f"{self.topic}[{self._shard}]@{message.offset} holds {type(thing).__name__}")
            elif self.marks.admit(self.topic, self._shard, thing.src):
                found.append((message.offset, thing))
        return found

    def changed(self) -> tuple[dict[Mark, tuple[int, int]], dict[Place, tuple[int, ...]]]:
        return self.marks.take_changed(), self.watermarks.take_changed()


class EdgesStage(_HopStage):
    """`edges`: into the partitions of their subjects; posts and follows go on to readers."""

    topic = EDGES

    def __init__(
        self,
        shard: int,
        shards: int,
        plan: Plan,
        settings: FanoutSettings,
        saved: Progress,
        *,
        skipped: Collection[int] = (),
    ) -> None:
        super().__init__(shard, shards, saved, skipped)
        self._plan = plan
        self._onward: list[Onward] = []
        self._folder = Folder(plan, shard, shards, settings, self._send)

    async def take(self, messages: Sequence[Message], overlay: VersionedOverlay) -> list[Onward]:
        turns = _Turns()
        admitted = [(offset, thing) for offset, thing in self._admitted(messages) if isinstance(thing, Edge)]
        self._folder.begin(overlay)
        for offset, edge in admitted:
            if edge.view not in self._plan.views:
                raise InvariantError(
                    f"edges[{self._shard}]@{offset} is for {edge.view}, which this release has not: every process of a"
                    " generation runs one release; build a new generation with the new one"
                )
        for at in range(0, len(admitted), EDGES_AT_ONCE):
            part = admitted[at : at + EDGES_AT_ONCE]
            await read_ahead_of_edges([edge for _, edge in part], self._folder, overlay)
            for offset, edge in part:
                overlay.offset = offset
                try:
                    await self._folder.fold(edge, offset)
                except Exception as error:
                    raise ProjectionError(EDGES, self._shard, offset, error) from error
                await turns.breathe()
            overlay.forget_slices()
        onward, self._onward = self._onward, []
        return onward

    def _send(self, shard: int, fan: Fan) -> None:
        self._onward.append((FANOUT, shard, encode_fan(fan), fan.src[2]))

    def vector(self, offset: int) -> tuple[int, ...]:  # noqa: ARG002 - of `records`, not of the hop
        return self.watermarks.of_senders(self._shards)


class FanoutStage(_HopStage):
    """`fanout`: into timelines."""

    topic = FANOUT

    def __init__(
        self, shard: int, shards: int, settings: FanoutSettings, saved: Progress, *, skipped: Collection[int] = ()
    ) -> None:
        super().__init__(shard, shards, saved, skipped)
        self._settings = settings

    async def take(self, messages: Sequence[Message], overlay: VersionedOverlay) -> list[Onward]:
        turns = _Turns()
        admitted = [(offset, thing) for offset, thing in self._admitted(messages) if isinstance(thing, Fan)]
        await read_ahead_of_fans([fan for _, fan in admitted], overlay)
        for offset, fan in admitted:
            overlay.offset = offset
            try:
                await fold_fan(fan, offset, overlay, self._settings)
            except Exception as error:
                raise ProjectionError(FANOUT, self._shard, offset, error) from error
            await turns.breathe()
        return []

    def vector(self, offset: int) -> tuple[int, ...]:  # noqa: ARG002 - the last stage
        return ()
