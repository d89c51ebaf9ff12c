"""What an endpoint gave, or what refused a request, as the HTTP response that says so.

HOT: `respond` runs for every call. Does not own who refuses what (`api/dispatch.py`) nor the words of it
(`api/errors.py`).
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web
from multidict import CIMultiDict

from api.errors import NAME_BY_STATUS
from api.xrpc import Answer, Ctx, Raw
from schemas.errors import XrpcError

_JSON = "application/json; charset=utf-8"
_JSON_HEADERS: CIMultiDict[str] = CIMultiDict({"Content-Type": _JSON, "Access-Control-Allow-Origin": "*"})


async def respond(
    answer: Answer, ctx: Ctx, request: web.BaseRequest, limit: dict[str, str] | None
) -> web.StreamResponse:
    """What an endpoint gave, with the headers of its rate limits and of its own."""
    if isinstance(answer, web.StreamResponse):
        return answer
    if isinstance(answer, Raw):
        return await _raw(answer, ctx, request, limit)
    headers = _JSON_HEADERS.copy()
    if limit is not None:
        headers.update(limit)
    if ctx.headers_out is not None:
        headers.update(ctx.headers_out)
    if answer is None:
        del headers["Content-Type"]
        return web.Response(headers=headers)
    return web.Response(body=answer if isinstance(answer, bytes) else orjson.dumps(answer), headers=headers)


async def _raw(answer: Raw, ctx: Ctx, request: web.BaseRequest, limit: dict[str, str] | None) -> web.StreamResponse:
    headers: dict[str, Any] = {"Access-Control-Allow-Origin": "*", "Content-Type": answer.content_type}
    headers.update(limit or {})
    headers.update(ctx.headers_out or {})
    headers.update(answer.headers)
    body = answer.body
    if isinstance(body, bytes):
        return web.Response(body=body, status=answer.status, headers=headers)
    try:
        # The first piece before the status: what fails at once is still answered as an error.
        first = await anext(body, b"")
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        try:
            if request.method != "HEAD":
                await response.write(first)
                async for piece in body:
                    await response.write(piece)
            await response.write_eof()
        except Exception:
            # An error behind what is sent already would be taken for a part of it: the client sees it cut off instead.
            if request.transport is not None:
                request.transport.abort()
            raise
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
    return response


def refuse(error: XrpcError, ctx: Ctx | None, limit: dict[str, str] | None) -> web.Response:
    """What a client is told that is refused, whoever is at fault."""
    headers: dict[str, str] = {"Content-Type": _JSON, "Access-Control-Allow-Origin": "*"}
    headers.update(limit or {})
    if ctx is not None:
        headers.update(ctx.headers_out or {})
    if error.status == 401:
        admin = ctx is not None and ctx.nsid.startswith("com.atproto.admin.")
        headers["WWW-Authenticate"] = 'Basic realm="admin"' if admin else "Bearer"
    name = error.name or NAME_BY_STATUS.get(error.status, "InvalidRequest")
    return web.Response(
        body=orjson.dumps({"error": name, "message": error.message}), status=error.status, headers=headers
    )
