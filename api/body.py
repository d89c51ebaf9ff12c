"""A request's body, bounded and checked as its lexicon says.

Errors are worded as the reference's `xrpc-server` words them. Does not own validation (`schemas.lexicon`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from api.config import ServerConfig
from api.errors import invalid_request, too_large
from api.xrpc import Body
from schemas import data
from schemas.errors import XrpcError
from schemas.lexicon import Method

# A client that stops in the middle of a body is not waited for longer than this, a piece.
_PIECE_SECONDS = 60.0


async def read_input(request: web.BaseRequest, lexicon: Method, config: ServerConfig) -> tuple[Any, Body | None]:
    """(data-model value, None) for a JSON input, (None, body) for a binary one, (None, None) when there is none."""
    headers = request.headers
    length = request.content_length
    chunked = "Transfer-Encoding" in headers
    has_body = chunked or bool(length)
    expected = lexicon.input_encoding
    if expected is None:
        if has_body:
            raise invalid_request("A request body was provided when none was expected")
        return None, None
    content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not has_body and (expected == "application/json" or "Content-Length" not in headers):
        raise invalid_request("A request body is expected but none was provided")
    if not content_type:
        raise invalid_request("Request encoding (Content-Type) required but not provided")
    if expected not in ("*/*", content_type):
        raise invalid_request(f"Wrong request encoding (Content-Type): {content_type}")
    if expected != "application/json":
        return None, Body(content_type, length, _pieces(request))
    raw = await _read_bounded(request, length, config.json_limit)
    return lexicon.check_input(data.loads(raw, config.json_limit)), None


async def _read_bounded(request: web.BaseRequest, length: int | None, limit: int) -> bytes:
    if length is not None and length > limit:
        raise too_large()
    content = request.content
    if content.is_eof():  # all of it came with its head, as small ones do
        whole = content.read_nowait()
        if len(whole) > limit:
            raise too_large()
        return whole
    pieces: list[bytes] = []
    total = 0
    async for piece in _pieces(request):
        total += len(piece)
        if total > limit:
            raise too_large()
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    content = request.content
    while not content.at_eof():
        # What has arrived needs no timer: most bodies came with their head.
        if content.is_eof():
            piece = content.read_nowait()
        else:
            try:
                async with asyncio.timeout(_PIECE_SECONDS):
                    piece = await content.readany()
            except TimeoutError:
                raise XrpcError("InvalidRequest", "The request's body did not arrive in time", 408) from None
            except web.RequestPayloadError:
                # Nothing more can be read of it: aiohttp would try to, and log that (api/dispatch.py closes behind it).
                content.feed_eof()
                raise invalid_request("The request's body is not encoded as its headers say") from None
        if piece:
            yield piece
