"""Requests of /xrpc/ as the beginning of traces; put in front of the dispatcher only where there is a tracer.

A subscription lasts as long as its subscriber likes, and is no span. Callers are believed (`traceparent`) only where
the operator says so: by it anybody could choose what is looked at. Does not own requests (`api/dispatch.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container

import structlog
from aiohttp import web

from schemas.tracing import HEADER, Tracer, valid

Xrpc = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_log = structlog.get_logger()
_PREFIX = len("/xrpc/")


def traced(xrpc: Xrpc, tracer: Tracer, methods: Container[str], *, trust_callers: bool) -> Xrpc:
    """`methods`: those that answer and end; of any other path nothing is kept."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        nsid = request.path[_PREFIX:]
        if nsid not in methods:
            return await xrpc(request)
        parent = valid(request.headers.get(HEADER)) if trust_callers else None
        about = {"rpc.system": "xrpc", "rpc.method": nsid, "http.request.method": request.method}
        with tracer.span(f"xrpc {nsid}", parent=parent, attributes=about) as span:
            response = await xrpc(request)
            span.note("http.response.status_code", response.status)
            _log.debug("answered", nsid=nsid, status=response.status)
            return response

    return handle
