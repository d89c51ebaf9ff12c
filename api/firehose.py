"""subscribeRepos' source: one reader of the log for all live subscribers, one splice and one websocket head a frame.

The hub keeps the newest frames in a ring, as the very bytes that go out: what a server sends is not masked, so all
subscribers are sent the same. Those in step are given one chunk, joined once. A subscriber inside the ring is live; one
behind it reads the log page by page until it catches up. One that had caught up and falls out of the ring is too slow.
Bounded: the ring in frames and bytes, a chunk in bytes, a page of catch-up in frames, and two pages read at once.
Without subscribers nothing is read.

Does not own the websocket (`api/com/atproto/sync/subscribe_repos.py`) nor what is in the log.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from xxhash import xxh64_intdigest

from api.errors import invalid_request
from api.outlet import message
from ingest.log import FirehoseReader
from schemas.entries import FirehoseEvent

RING_FRAMES = 8_192
RING_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
PAGE = 512  # events of one read; fewer where they are large
SHARDS_MAX = 1_024
_CHUNKS = 256  # joined chunks that are kept until the next news
_GATHER = 5e-5  # seconds that news gather for, a subscriber: about what a write to it costs
_GATHER_MAX = 0.01


class Chunk(NamedTuple):
    """Websocket messages to be written as they are, how many, and the seq that they reach."""

    wire: bytes
    frames: int
    reached: int


class Shard(NamedTuple):
    """The accounts whose xxh64 (of the DID, seed 0) leaves `number` when divided by `of`."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Raises XrpcError for anything but i/n."""
        number, slash, of = text.partition("/")
        if slash and _is_number(number) and _is_number(of) and int(number) < int(of) <= SHARDS_MAX:
            return cls(int(number), int(of))
        expected = f"expected i/n with 0 <= i < n <= {SHARDS_MAX}, as in shard=0/4 to shard=3/4"
        raise invalid_request(f"shard: {expected}, found {text[:40]!r}")

    def holds(self, key: int) -> bool:
        return key % self.of == self.number


class FirehoseHub:
    """`shown(did)` says which accounts this listener shows (a PDS: those it hosts).

    `server` is what it says in the Server header; None for what every answer says.
    """

    def __init__(
        self,
        log: FirehoseReader,
        shown: Callable[[str], bool],
        *,
        ring_frames: int = RING_FRAMES,
        ring_bytes: int = RING_BYTES,
        server: str | None = None,
    ) -> None:
        self.server = server
        self._log = log
        self._shown = shown
        self._ring_frames = ring_frames
        self._ring_bytes = ring_bytes
        # Parallel lists; entries before `_start` have left the ring and are cut off now and then.
        self._wires: list[bytes] = []
        self._seqs: list[int] = []
        self._keys: list[int] = []
        self._start = 0
        self._size = 0
        # All that is shown above `_floor`, up to `_newest`, is in the ring.
        self._floor = 0
        self._newest = 0
        self._chunks: dict[tuple[int, Shard | None], Chunk] = {}
        self._news = asyncio.Event()
        self._wanted = asyncio.Event()
        self._reading = asyncio.Semaphore(2)
        self.subscribers = 0
        self._closed = False

    async def run(self) -> None:
        """Follow the log while anybody subscribes, until cancelled."""
        changed = self._log.changed
        while True:
            await self._wanted.wait()
            await changed.wait_firehose(self._newest)
            for event in await self._log.read_firehose(self._newest, PAGE):
                self._take(event)
            self._chunks.clear()
            news, self._news = self._news, asyncio.Event()
            news.set()
            # Subscribers take these before the next ones can push them out; many are worth a longer breath.
            await asyncio.sleep(min(self.subscribers * _GATHER, _GATHER_MAX) if self.subscribers > 4 else 0)

    def close(self) -> None:
        """Let every waiting subscriber end."""
        self._closed = True
        self._news.set()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def newest(self) -> int:
        """Up to where the ring has taken the log."""
        return self._newest

    @contextmanager
    def subscription(self) -> Iterator[None]:
        if self.subscribers == 0:
            # Nobody has read since: begin at the log's end, the past is read from the log.
            self._wires, self._seqs, self._keys, self._start, self._size = [], [], [], 0, 0
            self._chunks.clear()
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

    async def live(self, after: int, shard: Shard | None = None) -> Chunk:
        """What is above `after`, at most CHUNK_BYTES or one frame, waiting until there is something.

        Nothing once closed, and nothing when the ring has passed `after` while this waited. HOT.
        """
        while self._newest <= after and not self._closed:
            await self._news.wait()
        if after < self._floor:
            return Chunk(b"", 0, after)
        key = (after, shard)
        chunk = self._chunks.get(key)
        if chunk is None:
            chunk = self._join(after, shard)
            if len(self._chunks) < _CHUNKS:
                self._chunks[key] = chunk
        return chunk

    async def past(self, after: int, limit: int, shard: Shard | None = None) -> Chunk:
        """The log's next `limit` events above `after`, for a subscriber that is behind.

        Where the log keeps nothing of it any more, what was there when nobody read is passed over.
        """
        async with self._reading:
            floor = self._floor
            events = await self._log.read_firehose(after, limit)
            wires = [message(event.frame()) for event in events if self._shows(event.did, shard)]
            # A log that answers from memory does not wait: the others go on between two pages.
            await asyncio.sleep(0)
        return Chunk(b"".join(wires), len(wires), events[-1].seq if events else max(after, floor))

    def _join(self, after: int, shard: Shard | None) -> Chunk:
        begin = end = bisect_right(self._seqs, after, self._start)
        wires, keys, size = self._wires, self._keys, 0
        chosen: list[bytes] = []
        while end < len(wires) and (size == 0 or size + len(wires[end]) <= CHUNK_BYTES):
            if shard is None or shard.holds(keys[end]):
                chosen.append(wires[end])
                size += len(wires[end])
            end += 1
        reached = self._seqs[end - 1] if begin < end < len(wires) else max(after, self._newest)
        return Chunk(b"".join(chosen), len(chosen), reached)

    def _shows(self, did: str, shard: Shard | None) -> bool:
        return self._shown(did) and (shard is None or shard.holds(_key(did)))

    def _take(self, event: FirehoseEvent) -> None:
        self._newest = event.seq
        if not self._shown(event.did):
            return
        wire = message(event.frame())
        self._wires.append(wire)
        self._seqs.append(event.seq)
        self._keys.append(_key(event.did))
        self._size += len(wire)
        start = self._start
        while len(self._wires) - start > self._ring_frames or self._size > self._ring_bytes:
            self._size -= len(self._wires[start])
            self._floor = self._seqs[start]
            self._wires[start] = b""
            start += 1
        if start > self._ring_frames:
            del self._wires[:start], self._seqs[:start], self._keys[:start]
            start = 0
        self._start = start


def _key(did: str) -> int:
    return xxh64_intdigest(did.encode())


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4
