"""HTTP/1.1 for load: keep-alive connections with one request in flight each, requests made ahead, whole answers.

A general client costs as much a request as the servers it is to measure, so this one calls back instead of waking
tasks, and looks for timeouts in one sweep. What comes beyond `limit` requests in flight is not queued: `send` says
False, and the caller counts it. Does not own what is asked (`calls.py`) nor when (`arrivals.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

MOST_ANSWER = 64 * 1024 * 1024  # bytes
_MOST_HEAD = 65_536
_SWEEP = 0.05
_AHEAD = 32
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,12})", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_BODILESS = frozenset({204, 304})

Done = Callable[[int, bytes, str], None]
"""Called once a request: status (0 for none), body, and what went wrong with the connection ('' for nothing)."""


class Connection(asyncio.Protocol):
    """One connection of a pool."""

    __slots__ = ("_body", "_buffer", "_closes", "_need", "_pool", "_status", "done", "transport")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._buffer = b""
        self._body: bytearray | None = None  # of an answer in chunks
        self._need = -1
        self._status = 0
        self._closes = False
        self.done: Done | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self, "cut" if exc is None else "reset")

    def data_received(self, data: bytes) -> None:
        if self.done is None:
            self._fail("unasked")
            return
        buffer = self._buffer + data if self._buffer else data
        if self._need < 0 and self._body is None:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = buffer
                if len(buffer) > _MOST_HEAD:
                    self._fail("malformed")
                return
            if not self._head(buffer[: end + 2]):
                self._fail("malformed")
                return
            buffer = buffer[end + 4 :]
        if self._body is not None:
            self._chunks(buffer)
        elif len(buffer) >= self._need:
            self._answer(buffer[: self._need] if len(buffer) > self._need else buffer)
        else:
            self._buffer = buffer

    def _head(self, head: bytes) -> bool:
        status = head[9:12]
        length, chunked = _LENGTH.search(head), _CHUNKED.search(head)
        if not head.startswith(b"HTTP/1.") or not status.isdigit():
            return False
        self._status = int(status)
        self._closes = _CLOSE.search(head) is not None
        if chunked is not None:
            self._body = bytearray()
        elif length is not None:
            self._need = int(length[1])
        elif self._status in _BODILESS:
            self._need = 0
        return self._body is not None or 0 <= self._need <= MOST_ANSWER

    def _chunks(self, buffer: bytes) -> None:
        assert self._body is not None
        at = 0
        while (end := buffer.find(b"\r\n", at)) >= 0:
            size = buffer[at:end].partition(b";")[0].strip()
            if not size or len(size) > 8 or size.strip(b"0123456789abcdefABCDEF"):
                self._fail("malformed")
                return
            length = int(size, 16)
            if len(buffer) < end + 4 + length:
                break
            if length == 0:
                self._answer(bytes(self._body))
                return
            self._body += buffer[end + 2 : end + 2 + length]
            at = end + 4 + length
        self._buffer = buffer[at:]
        if len(self._body) + len(self._buffer) > MOST_ANSWER:
            self._fail("malformed")

    def _answer(self, body: bytes) -> None:
        done, self.done = self.done, None
        self._buffer, self._body, self._need = b"", None, -1
        closes, self._closes = self._closes, False
        self._pool.answered(self, closes=closes)
        if done is not None:
            done(self._status, body, "")

    def _fail(self, what: str) -> None:
        self._pool.lost(self, what)
        if self.transport is not None:
            self.transport.abort()


class Pool:
    """Connections to one host. `limit` requests are in flight at most; each has `timeout` seconds."""

    def __init__(self, url: str, *, limit: int, timeout: float) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._limit, self._timeout = limit, timeout
        self._free: deque[Connection] = deque()
        self._busy: OrderedDict[Connection, float] = OrderedDict()  # until when; in order, for one timeout
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self.header = f" HTTP/1.1\r\nHost: {parts.netloc}\r\n".encode()

    @property
    def in_flight(self) -> int:
        return len(self._busy) + len(self._opening)

    def send(self, request: bytes, done: Done) -> bool:
        """Send, or say False when too much is in flight. `done` is called later, and once."""
        free = self._free
        while free:
            connection = free.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                self._give(connection, request, done)
                return True
        if len(self._busy) + len(self._opening) >= self._limit:
            return False
        task = asyncio.get_running_loop().create_task(self._open(request, done))
        self._opening.add(task)
        task.add_done_callback(self._opened)
        return True

    async def ask(self, request: bytes) -> tuple[int, bytes, str]:
        """As `send`, for those who wait. Beyond the limit the error is `dropped`."""
        waiter: asyncio.Future[tuple[int, bytes, str]] = asyncio.get_running_loop().create_future()

        def done(status: int, body: bytes, error: str) -> None:
            if not waiter.done():
                waiter.set_result((status, body, error))

        return await waiter if self.send(request, done) else (0, b"", "dropped")

    async def open_ahead(self, until: float) -> None:
        """Open as many connections as may be in flight, a few at a time, until a moment of CLOCK_MONOTONIC.

        A burst that opens a thousand at once overflows the listener's queue, and then measures TCP's retries.
        """
        loop = asyncio.get_running_loop()
        while len(self._free) < self._limit and time.monotonic() < until:
            some = min(_AHEAD, self._limit - len(self._free))
            opening = (
                loop.create_connection(lambda: Connection(self), self.host, self._port, ssl=self._tls)
                for _ in range(some)
            )
            try:
                async with asyncio.timeout(max(0.01, until - time.monotonic())):
                    found = await asyncio.gather(*opening, return_exceptions=True)
            except TimeoutError:
                return
            opened = [each[1] for each in found if not isinstance(each, BaseException)]
            self._free.extend(opened)
            if len(opened) < some:
                return  # whoever is refused now is counted when it matters

    async def drained(self, seconds: float) -> None:
        """Returns when nothing is in flight, or after so long."""
        self._idle = asyncio.Event()
        if self.in_flight:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()

    async def close(self) -> None:
        """Cut every connection; requests in flight are called back with `cut`."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in list(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in [*self._free, *self._busy]:
            self.lost(connection, "cut")
            if connection.transport is not None:
                connection.transport.abort()
        self._free.clear()
        await asyncio.sleep(0)

    def _give(self, connection: Connection, request: bytes, done: Done) -> None:
        connection.done = done
        self._busy[connection] = time.monotonic() + self._timeout
        connection.transport.write(request)  # type: ignore[union-attr]
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def _open(self, request: bytes, done: Done) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(self), self.host, self._port, ssl=self._tls
                )
        except TimeoutError:
            done(0, b"", "timeout")
        except OSError:
            done(0, b"", "connect")
        except asyncio.CancelledError:
            done(0, b"", "cut")
            raise
        else:
            self._give(connection, request, done)

    def answered(self, connection: Connection, *, closes: bool) -> None:
        self._busy.pop(connection, None)
        if closes:
            if connection.transport is not None:
                connection.transport.close()
        else:
            self._free.append(connection)
        self._tell_idle()

    def lost(self, connection: Connection, what: str) -> None:
        self._busy.pop(connection, None)
        with contextlib.suppress(ValueError):
            self._free.remove(connection)
        done, connection.done = connection.done, None
        if done is not None:
            done(0, b"", what)
        self._tell_idle()

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if not self._busy and not self._opening:
            self._idle.set()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            now = time.monotonic()
            while self._busy:
                connection, until = next(iter(self._busy.items()))
                if until > now:
                    break
                self.lost(connection, "timeout")
                if connection.transport is not None:
                    connection.transport.abort()
