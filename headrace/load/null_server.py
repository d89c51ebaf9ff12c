"""A server that answers everything at once with the same few bytes: what the generator itself can do is measured on it.

It can also stand still on purpose, so that a test knows which latencies must be found. Does not own the measuring.
"""

from __future__ import annotations

import asyncio
from typing import cast

_HEAD_END = b"\r\n\r\n"


class NullConnection(asyncio.Protocol):
    """Answers GETs; a request with a body is answered when its head is there, for clients that send both at once."""

    def __init__(self, server: NullServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.open.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's own name
        if self._transport is not None:
            self._server.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._server.answer(self._transport, data.count(_HEAD_END))


class NullServer:
    """Serves on a free port between `start` and `close`. While it is held, answers wait."""

    def __init__(self, body: bytes = b'{"feed":[]}') -> None:
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        self._server: asyncio.Server | None = None
        self._held: list[tuple[asyncio.Transport, int]] | None = None
        self.open: set[asyncio.Transport] = set()
        self.url = ""
        self.requests = 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: NullConnection(self), "127.0.0.1", 0, backlog=4096)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        for transport in list(self.open):
            transport.abort()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def hold(self) -> None:
        """Stand still: requests are read, and not answered."""
        self._held = []

    def go_on(self) -> None:
        """Answer what waits."""
        held, self._held = self._held or [], None
        for transport, count in held:
            if not transport.is_closing():
                transport.write(self._answer * count)

    def answer(self, transport: asyncio.Transport, count: int) -> None:
        self.requests += count
        if self._held is not None:
            self._held.append((transport, count))
        elif count:
            transport.write(self._answer * count)
