"""Between a stream that may begin anywhere and a lane that begins at its saved progress.

A lane is given a message only when the stream is known to have come by that progress: the stream shows a message at or
below it, or, where none is left there, after a seek comes again by what it had shown. Messages that skip
ahead in a hop, where offsets have no holes, are dropped and the stream is sought back. Bounded: `put` waits while the
lane is far behind. Does not own the lane's work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from processors.lanes.lane import Lane
from processors.lanes.markers_kafka import Markers
from processors.lanes.shards import Lanes, Place
from processors.lanes.stages import SOURCES, Message

_log = structlog.get_logger(__name__)

_HELD = 2_000  # messages waiting for a lane
_SEEK_AGAIN_SECONDS = 2.0

Seek = Callable[[Any, int], Awaitable[None]]


class Slot:
    """One partition that is ours, for as long as it is; `processors.lanes.loop.Source` to its lane."""

    def __init__(self, lanes: Lanes, place: Place, tp: Any, seek: Seek, markers: Markers) -> None:
        self._lanes = lanes
        self._place = place
        self._tp = tp
        self._seek = seek
        self._markers = markers
        self._lane: Lane | None = None
        self._next = 0
        """The position behind what the lane was given: Kafka's offset of what must come."""
        self._verified = False
        self._reached: int | None = None
        """How far the stream had come when it was sought; lower or equal means that it was rewound."""
        self._sought = 0.0
        self._held: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self.seeks = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._open())

    def close(self) -> None:
        """Drops what is held; the lane itself is closed by who has it."""
        self._closed = True
        self._held.clear()
        self._room.set()
        if self._task is not None:
            self._task.cancel()

    async def _open(self) -> None:
        topic, shard = self._place
        try:
            lane = await self._lanes.open(topic, shard)
        except Exception as error:
            self._lanes.fail(error, topic=topic, shard=shard)
            raise
        if self._closed:
            return
        self._lane = lane
        self._next = lane.offset
        await self._rewind(None)
        self._lanes.run(lane, self)

    async def put(self, message: Message) -> None:
        """The next message of the stream."""
        await self._room.wait()
        if self._closed or self._lane is None:
            return
        position = message.offset - 1
        if not self._verified and not await self._verify(position):
            return
        if position < self._next:
            return
        if position > self._next and self._place[0] not in SOURCES:
            _log.warning("slot.skipped_ahead", place=self._place, expected=self._next, found=position)
            await self._rewind(position)
            return
        self._next = position + 1
        self._held.append(message)
        self._changed.set()
        if len(self._held) >= _HELD:
            self._room.clear()

    async def _verify(self, position: int) -> bool:
        if position <= self._next or (self._reached is not None and position <= self._reached):
            self._verified = True
            return True
        now = asyncio.get_running_loop().time()
        if self._reached is None or now - self._sought > _SEEK_AGAIN_SECONDS:
            await self._rewind(position)
        else:
            self._reached = max(self._reached, position)
        return False

    async def _rewind(self, reached: int | None) -> None:
        self._verified = False
        self._reached = reached
        self._sought = asyncio.get_running_loop().time()
        self.seeks += 1
        await self._seek(self._tp, self._next)

    async def read(self, seconds: float, limit: int) -> list[Message]:
        if not self._held:
            self._changed.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                return []
        found = [self._held.popleft() for _ in range(min(limit, len(self._held)))]
        if len(self._held) < _HELD // 2:
            self._room.set()
        return found

    async def position(self) -> int:
        if self._place[0] not in SOURCES or self._held or not self._next:
            return 0
        at = await self._markers.past(self._tp.topic, self._tp.partition, self._next)
        return 0 if self._held else at


def slot_message(message: Any) -> Message:
    """From Faust's: its timestamps are seconds, its values may have been decoded elsewhere and are bytes here."""
    headers = message.headers
    pairs = list(headers.items()) if hasattr(headers, "items") else list(headers or ())
    return Message(message.offset + 1, message.key, message.value, pairs, int(message.timestamp * 1000))
