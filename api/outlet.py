"""Many bytes out of one websocket: whole messages made once for all, written past the codec, held back when unread.

RFC 6455 has servers send unmasked: a message to one client is, byte for byte, the message to every other. Does not own
the handshake, pings and closing (aiohttp's), nor what is sent.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

_UNSENT = 64 * 1024  # bytes; above them the transport says when it has room again
_BINARY, _TEXT = b"\x82", b"\x81"  # the last (and only) fragment of a message


def message(data: bytes, *, text: bool = False) -> bytes:
    """One unmasked, uncompressed websocket message (RFC 6455, section 5.2). HOT."""
    size = len(data)
    first = _TEXT if text else _BINARY
    if size < 126:
        return first + bytes((size,)) + data
    if size < 65_536:
        return first + b"\x7e" + size.to_bytes(2, "big") + data
    return first + b"\x7f" + size.to_bytes(8, "big") + data


class Outlet:
    """The writing side of a websocket that has been prepared without compression."""

    __slots__ = ("_drain", "_request")

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._drain = request.writer.drain

    async def write(self, wire: bytes, seconds: float) -> None:
        """Whole messages; returns when the socket has room again. HOT.

        Raises ConnectionResetError when the client is gone, TimeoutError when it takes nothing for so long.
        """
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the subscriber is gone")
        transport.write(wire)
        if transport.get_write_buffer_size() > _UNSENT:
            async with asyncio.timeout(seconds):
                await self._drain()
