"""subscribeRepos' source: one reader of the log for all live subscribers, one splice a frame.

The hub keeps the newest frames in a ring. A subscriber inside the ring is live and is sent the hub's own bytes; one
behind it reads the log page by page until it catches up. A live subscriber that falls out of the ring is too slow.
Bounded: the ring in frames and bytes, and a page of catch-up. Without subscribers nothing is read.

Does not own the websocket (`api/com/atproto/sync/subscribe_repos.py`) nor what is in the log.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ingest.log import FirehoseReader
from schemas.entries import FirehoseEvent

RING_FRAMES = 8_192
RING_BYTES = 16 * 1024 * 1024
_PAGE = 200


class TooSlowError(Exception):
    """A live subscriber has not taken frames that are no longer in the ring."""


class FirehoseHub:
    """`shown(did)` says which accounts this listener shows (a PDS: those it hosts)."""

    def __init__(
        self,
        log: FirehoseReader,
        shown: Callable[[str], bool],
        *,
        ring_frames: int = RING_FRAMES,
        ring_bytes: int = RING_BYTES,
    ) -> None:
        self._log = log
        self._shown = shown
        self._ring_frames = ring_frames
        self._ring_bytes = ring_bytes
        # Parallel lists; entries before `_start` have left the ring and are cut off now and then.
        self._frames: list[bytes] = []
        self._seqs: list[int] = []
        self._start = 0
        self._size = 0
        # All that is shown above `_floor`, up to `_newest`, is in the ring.
        self._floor = 0
        self._newest = 0
        self._news = asyncio.Event()
        self._wanted = asyncio.Event()
        self.subscribers = 0
        self._closed = False

    async def run(self) -> None:
        """Follow the log while anybody subscribes, until cancelled."""
        changed = self._log.changed
        while True:
            await self._wanted.wait()
            await changed.wait_firehose(self._newest)
            for event in await self._log.read_firehose(self._newest, _PAGE):
                self._take(event)
            news, self._news = self._news, asyncio.Event()
            news.set()

    def close(self) -> None:
        """Let every waiting subscriber end."""
        self._closed = True
        self._news.set()

    @property
    def closed(self) -> bool:
        return self._closed

    @contextmanager
    def subscription(self) -> Iterator[None]:
        if self.subscribers == 0:
            # Nobody has read since: begin at the log's end, the past is read from the log.
            self._frames, self._seqs, self._start, self._size = [], [], 0, 0
            self._floor = self._newest = self._log.firehose_bounds()[1]
            self._wanted.set()
        self.subscribers += 1
        try:
            yield
        finally:
            self.subscribers -= 1
            if self.subscribers == 0:
                self._wanted.clear()

    def bounds(self) -> tuple[int, int, int]:
        """(oldest seq, newest seq, oldest time) of the log."""
        return self._log.firehose_bounds()

    def is_live(self, after: int) -> bool:
        return after >= self._floor

    async def live(self, after: int, limit: int) -> tuple[list[bytes], int]:
        """Frames above `after` and the seq they reach, waiting until there are some; none once closed.

        Raises TooSlowError when frames above `after` have left the ring.
        """
        while self._newest <= after and not self._closed:
            await self._news.wait()
        if after < self._floor:
            raise TooSlowError
        begin = bisect_right(self._seqs, after, self._start)
        frames = self._frames[begin : begin + limit]
        end = begin + len(frames)
        return frames, self._seqs[end - 1] if end < len(self._seqs) else max(after, self._newest)

    async def past(self, after: int) -> tuple[list[bytes], int]:
        """One page of the log above `after`, for a subscriber that is behind, and the seq it reaches.

        Where the log keeps nothing of it any more, what was there when nobody read is passed over.
        """
        floor = self._floor
        events = await self._log.read_firehose(after, _PAGE)
        shown = self._shown
        return [event.frame() for event in events if shown(event.did)], events[-1].seq if events else max(after, floor)

    def _take(self, event: FirehoseEvent) -> None:
        self._newest = event.seq
        if not self._shown(event.did):
            return
        frame = event.frame()
        self._frames.append(frame)
        self._seqs.append(event.seq)
        self._size += len(frame)
        start = self._start
        while len(self._frames) - start > self._ring_frames or self._size > self._ring_bytes:
            self._size -= len(self._frames[start])
            self._floor = self._seqs[start]
            self._frames[start] = b""
            start += 1
        if start > self._ring_frames:
            del self._frames[:start], self._seqs[:start]
            start = 0
        self._start = start
