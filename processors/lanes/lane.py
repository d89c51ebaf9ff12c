"""One lane a (topic, shard): batches in order, each saved before the next (DESIGN, invariant 4).

(a) what the batch sends on, acknowledged; then `store.apply`: (b) rows, (c) the before-images, (d) progress; then a
watermark. After an error a lane is done for: what it holds in memory may be ahead of the store. Whoever owns the shard
next begins at the saved progress, and redoes what was in hand as one batch, however it comes: a key that was made and
taken back in it gets a final statement again. Cut apart, the first half would write what the second does not take away,
as its before-image is gone. So a batch of `records` or `operations` says before its first row how far it reaches.
Does not own where messages come from, nor when a lane opens and closes.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from processors.decode import Decoder
from processors.lanes.hop_codec import Watermark, encode_watermark
from processors.lanes.known import Known
from processors.lanes.stages import (
    SOURCES,
    EdgesStage,
    FanoutStage,
    IndexStage,
    Message,
    Onward,
    OperationsStage,
    Stage,
)
from processors.lanes.together import together
from processors.plan import Plan
from schemas import crash
from schemas.errors import InvariantError
from schemas.topics import EDGES, FANOUT, OPERATIONS, RECORDS
from schemas.tracing import NO_TRACES
from views.overlay_versioned import VersionedOverlay
from views.store import Batch, Progress, Store
from views.view import FanoutSettings

BATCH = 500  # messages
WATERMARK_SECONDS = 0.1

_NEXT_HOP = {RECORDS: EDGES, EDGES: FANOUT}


class Hops(Protocol):
    async def send(self, messages: Sequence[Onward], traces: Mapping[int, bytes] = NO_TRACES) -> None:
        """All durable, in order within each shard, when it returns; a trace goes along with what follows from it.

        Raises otherwise; then of each shard a beginning of the messages is there, without holes.
        """
        ...


class LaneStore(Store, Protocol):
    async def progress_of(self, topic: str, shard: int) -> Progress:
        """What the last batch of that lane left."""
        ...

    async def reach(self, topic: str, shard: int, offset: int) -> None:
        """Durable when it returns: that lane goes to write what comes up to `offset`."""
        ...


class Lane:
    """`open`, then `take` and `idle` one at a time, by one task."""

    def __init__(
        self,
        topic: str,
        shard: int,
        *,
        shards: int,
        plan: Plan,
        decoder: Decoder,
        store: LaneStore,
        hops: Hops,
        settings: FanoutSettings,
        skipped: Collection[int] = (),
        held: bool = False,
    ) -> None:
        """`skipped`: offsets that an operator leaves out. `held`: compaction waits for this generation to be built."""
        if topic not in (RECORDS, OPERATIONS, EDGES, FANOUT):
            raise InvariantError(f"no lane consumes {topic}; expected {RECORDS}, {OPERATIONS}, {EDGES} or {FANOUT}")
        self.topic = topic
        self.shard = shard
        self._shards = shards
        self._plan = plan
        self._decoder = decoder
        self._store = store
        self._hops = hops
        self._settings = settings
        self._skipped = skipped
        self._held = held
        self._stage: Stage | None = None
        self._known = Known(store, shards=shards, empty=False)
        self._held_back: list[Message] = []
        """Of what a predecessor had in hand, the beginning."""
        self._reached = 0
        self._told: tuple[int, ...] = ()
        self._told_at = 0.0
        self.offset = 0
        """Up to which everything is saved."""
        self.entries = 0
        """Messages taken, ever; `repeated` came again after they had been saved."""
        self.repeated = 0
        self.batches = 0
        self.busy = 0.0
        """Seconds of batches, ever, as who runs it tells: what is left of a second the lane had nothing to do."""

    async def open(self) -> int:
        """Take the shard; returns the offset up to which the lane is complete: read on from there."""
        self._begin(await self._store.progress_of(self.topic, self.shard))
        await self._tell()
        return self.offset

    def _begin(self, saved: Progress) -> None:
        place = (self.topic, self.shard)
        self.offset = saved.vector.get(place, 0)
        self._reached = saved.reached.get(place, 0)
        self._known = Known(self._store, shards=self._shards, empty=not self.offset)
        self._stage = self._make_stage(saved)

    async def _overtaken(self) -> bool:
        """Whether somebody has saved more than this lane has: then it goes on from there."""
        saved = await self._store.progress_of(self.topic, self.shard)
        if saved.vector.get((self.topic, self.shard), 0) <= self.offset:
            return False
        self._begin(saved)
        return True

    def _make_stage(self, saved: Progress) -> Stage:
        shard, shards, plan = self.shard, self._shards, self._plan
        if self.topic == RECORDS:
            return IndexStage(
                shard,
                shards,
                plan,
                self._decoder,
                saved,
                known=self._known,
                skipped=self._skipped,
                held=self._held,
            )
        if self.topic == OPERATIONS:
            return OperationsStage(shard, plan, saved, skipped=self._skipped, held=self._held)
        if self.topic == EDGES:
            return EdgesStage(shard, shards, plan, self._settings, saved, skipped=self._skipped)
        return FanoutStage(shard, shards, self._settings, saved, skipped=self._skipped)

    @property
    def stage(self) -> Stage:
        if self._stage is None:
            raise InvariantError(f"the lane of {self.topic}[{self.shard}] has not been opened")
        return self._stage

    @property
    def given(self) -> int:
        """Up to which messages were taken, saved or held back: what follows is wanted next."""
        return self._held_back[-1].offset if self._held_back else self.offset

    async def take(self, messages: Sequence[Message], traces: Mapping[int, bytes] = NO_TRACES) -> None:
        """One batch, durable when it returns; held back while it does not hold all that a predecessor had in hand.

        What was saved before is left out. `traces`: by offset, what goes along with what the batch sends on.
        """
        fresh = self._fresh(messages, self.given)
        fresh, self._held_back = self._held_back + fresh, []
        while fresh:
            if fresh[-1].offset < self._reached:
                self._held_back = fresh
                return
            if await self._take(fresh, traces):
                break
            fresh = self._fresh(fresh, self.offset)
        self.entries += len(fresh)
        if self.seconds_to_tell() == 0:
            await self._tell()

    def _fresh(self, messages: Sequence[Message], after: int) -> list[Message]:
        fresh = [message for message in messages if message.offset > after]
        self.repeated += len(messages) - len(fresh)
        return fresh

    async def _take(self, messages: Sequence[Message], traces: Mapping[int, bytes]) -> bool:
        """False when some of it had been taken by somebody else, and nothing has been done."""
        overlay = VersionedOverlay(self._known)
        onward = await self.stage.take(messages, overlay)
        if self._known.doubtful and await self._overtaken():
            return False
        crash.point("lane.before_send")
        reaching = messages[-1].offset if self.topic in SOURCES and len(messages) > 1 else None
        await self._announce(onward, reaching, traces)
        crash.point("lane.after_send")
        await self._save(overlay.batch(), messages[-1].offset)
        self._known.learn(overlay)
        return True

    async def _announce(self, onward: Sequence[Onward], reached: int | None, traces: Mapping[int, bytes]) -> None:
        """Before the first row both are durable; in which order they come to be makes no difference."""
        asked: list[Coroutine[Any, Any, None]] = []
        if onward:
            asked.append(self._hops.send(onward, traces))
        if reached is not None:
            asked.append(self._store.reach(self.topic, self.shard, reached))
        await together(*asked)

    async def _save(self, batch: Batch, offset: int) -> None:
        batch.vector = {(self.topic, self.shard): offset}
        batch.marks, batch.watermarks = self.stage.changed()
        await self._store.apply(batch)
        crash.point("lane.after_progress")
        self.offset = offset
        self.batches += 1

    async def idle(self, position: int = 0) -> None:
        """There is nothing to take below `position`: say how far everything is, markers of transactions included."""
        if self._held_back:
            if position < self._reached:
                return
            # What was the last of it is no longer in the log: a newer value of its key is.
            self._reached = 0
            await self.take(())
        if position > self.offset and self.topic in SOURCES:
            await self._save(VersionedOverlay(self._store).batch(), position)
        if self.seconds_to_tell() == 0:
            await self._tell()

    def seconds_to_tell(self) -> float | None:
        """Until a watermark may be sent; None when there is nothing new to say."""
        if self.stage.vector(self.offset) == self._told:
            return None
        return max(0.0, self._told_at + WATERMARK_SECONDS - time.monotonic())

    async def _tell(self) -> None:
        vector = self.stage.vector(self.offset)
        hop = _NEXT_HOP.get(self.topic)
        self._told, self._told_at = vector, time.monotonic()
        if hop is not None and any(vector):
            value = encode_watermark(Watermark(self.shard, vector))
            await self._hops.send([(hop, shard, value, 0) for shard in range(self._shards)])
            crash.point("lane.after_watermark")
