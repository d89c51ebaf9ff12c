"""The public listener: paths beside /xrpc/, CORS and methods. HOT: two comparisons before `Dispatcher.xrpc`.

Built on aiohttp's low-level server, since one dictionary is the whole routing. Does not own XRPC (`api/dispatch.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

from api.dispatch import Dispatcher
from api.traced import Xrpc, traced
from api.xrpc import Services
from schemas import tracing

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_PREFLIGHT_SECONDS = 86_400
_METHODS = frozenset({"GET", "HEAD", "POST"})
_CORS = {"Access-Control-Allow-Origin": "*"}
HEAD_MAX = 16_384  # bytes of a request's first line, and of one header (query strings of 25 long DIDs fit)


class PublicServer:
    """`pages` answer exact paths, `prefixes` whatever lies below them (for GET and HEAD); `actions` answer POST."""

    def __init__(
        self,
        services: Services,
        dispatcher: Dispatcher,
        *,
        pages: Mapping[str, Handler],
        prefixes: Mapping[str, Handler] | None = None,
        actions: Mapping[str, Handler] | None = None,
        trust_callers: bool = False,
    ) -> None:
        """`trust_callers`: their traces are gone on with, if any are made."""
        self._xrpc: Xrpc = dispatcher.xrpc
        if tracing.TRACER is not None:
            ending = {nsid for nsid, method in services.catalogue.methods.items() if method.kind != "subscription"}
            self._xrpc = traced(dispatcher.xrpc, tracing.TRACER, ending, trust_callers=trust_callers)
        self._pages = {"/xrpc/_health": _health(services.config.version), **pages}
        self._prefixes = tuple((prefixes or {}).items())
        self._actions = actions or {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        method = request.method
        if method not in _METHODS:
            return _preflight(request) if method == "OPTIONS" else _not_allowed(method)
        path = request.path
        if path.startswith("/xrpc/") and path != "/xrpc/_health":
            return await self._xrpc(request)
        if method == "POST" and path in self._actions:
            return await self._actions[path](request)
        page = self._pages.get(path)
        if page is None:
            page = next((handler for prefix, handler in self._prefixes if path.startswith(prefix)), _nothing_here)
        if method == "POST":
            return _not_allowed(method, "GET, HEAD, OPTIONS")
        return await page(request)


def _preflight(request: web.BaseRequest) -> web.Response:
    headers = {
        **_CORS,
        "Access-Control-Allow-Methods": "GET,HEAD,POST",
        "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
    }
    wanted = request.headers.get("Access-Control-Request-Headers")
    if wanted is not None:
        headers["Access-Control-Allow-Headers"] = wanted
        headers["Vary"] = "Access-Control-Request-Headers"
    return web.Response(status=204, headers=headers)


def _not_allowed(method: str, allow: str = "GET, HEAD, POST, OPTIONS") -> web.Response:
    return problem(405, "MethodNotAllowed", f"{method} is not answered here", {"Allow": allow})


async def _nothing_here(request: web.BaseRequest) -> web.Response:
    return problem(404, "NotFound", f"Nothing at {request.path[:256]}: methods are below /xrpc/")


def problem(status: int, name: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error outside XRPC, in its shape."""
    return web.Response(
        status=status,
        body=orjson.dumps({"error": name, "message": message}),
        headers={**_CORS, "Content-Type": "application/json; charset=utf-8", **(headers or {})},
    )


def _health(version: str) -> Handler:
    body = orjson.dumps({"version": f"headrace {version}"})

    async def health(_: web.BaseRequest) -> web.Response:
        return web.Response(body=body, headers={**_CORS, "Content-Type": "application/json; charset=utf-8"})

    return health
