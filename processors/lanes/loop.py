"""The task of a lane: reads, takes, and says how far it is when there is nothing more. The same under every runner.

Does not own the lane's work nor where messages come from.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from processors.lanes.lane import BATCH, Lane
from processors.lanes.stages import Message
from schemas import tracing

# Small batches begin at least this far apart, so that many small writes share requests and the store's commits.
_APART_SECONDS = 0.02
# How soon after a batch a lane counts as idle; and how long it waits when it does.
_SETTLED_SECONDS = 0.03
_WAIT_SECONDS = 1.0


class Source(Protocol):
    async def read(self, seconds: float, limit: int) -> list[Message]:
        """The next messages in order, at least one unless `seconds` pass; always what follows the last read."""
        ...

    async def position(self) -> int:
        """All below has been read or holds no message; 0 where that is not known."""
        ...


class LaneLoop:
    def __init__(self, lane: Lane, source: Source) -> None:
        self.lane = lane
        self._source = source
        self._stopping = False
        self._busy = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self._run(), name=f"lane-{self.lane.topic}-{self.lane.shard}")
        return self._task

    def halt(self) -> None:
        """Take nothing more; the batch in hand goes on."""
        self._stopping = True

    async def close(self, seconds: float) -> bool:
        """End after the batch in hand; False when it had to be given up (whoever comes next does it again)."""
        task, self._stopping = self._task, True
        if task is None or task.done():
            return True
        if not self._busy:
            task.cancel()
        _, pending = await asyncio.wait([task], timeout=seconds)
        if pending:
            task.cancel()
            await asyncio.wait([task], timeout=1.0)
        return not pending

    async def _run(self) -> None:
        lane, settled, begun = self.lane, False, 0.0
        while not self._stopping:
            wait = _WAIT_SECONDS if settled else _SETTLED_SECONDS
            due = lane.seconds_to_tell()
            messages = await self._source.read(wait if due is None else min(wait, due), BATCH)
            self._busy = True
            if messages:
                begun, settled = time.monotonic(), False
                if tracing.TRACER is None:
                    await lane.take(messages)
                else:
                    await _traced(tracing.TRACER, lane, messages)
                done = time.monotonic()
                lane.busy += done - begun
                rest = begun + _APART_SECONDS - done
            else:
                position = 0 if settled else await self._source.position()
                await lane.idle(position)
                rest, settled = 0.0, True
            self._busy = False
            if rest > 0 and len(messages) < BATCH:
                await asyncio.sleep(rest)


async def _traced(tracer: tracing.Tracer, lane: Lane, messages: list[Message]) -> None:
    """The batch as a part of the traces that its messages carry, a few of them."""
    now = time.time_ns() // 1_000_000
    parents = {
        message.offset: parent
        for message in messages
        if message.headers and (parent := tracing.parent_of(message.headers, message.timestamp, now)) is not None
    }
    if not parents:
        await lane.take(messages)
        return
    about: tracing.Attributes = {
        "messaging.destination.partition.id": str(lane.shard),
        "messaging.batch.message_count": len(messages),
    }
    with tracer.batch(f"lane {lane.topic}", list(parents.values()), about) as onward:
        traces = {offset: onward[parent] for offset, parent in parents.items() if parent in onward}
        await lane.take(messages, traces)
