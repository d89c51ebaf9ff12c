"""The operators' listener: metrics, status, probes and the ingest hook. Private: it is bound apart from the public one.

Does not own what it shows (each part registers its metrics, `Status` says the rest) nor how input is verified.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from api.ops_page import page
from schemas.errors import Refused

Status = Callable[[], dict[str, Any] | Awaitable[dict[str, Any]]]
# Takes the upload's pieces, gives the summary that `headrace ingest` prints.
Ingest = Callable[[AsyncIterator[bytes]], Awaitable[dict[str, Any]]]

_UPLOAD_PIECE = 256 * 1024


def build_ops_app(
    *,
    registry: CollectorRegistry,
    status: Status,
    ready: Callable[[], bool],
    version: str,
    stalled: Callable[[], str | None] = lambda: None,
    token: str = "",
    hooks: Mapping[str, Ingest] | None = None,
    river: Callable[[], Awaitable[dict[str, Any]]] | None = None,
) -> web.Application:
    """`token` opens the hooks (Bearer), which are by path.

    `ready`: requests are to be sent here, since it is caught up enough to serve. `stalled`: why only another process
    would make progress, if so. Neither is said of what another process could not do either, such as a broker that is
    away. `river`: what the page at `/` shows, which is there only with it.
    """
    expected = f"Bearer {token}".encode()

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def show_status(_: web.Request) -> web.Response:
        found = status()
        return _json(found if isinstance(found, dict) else await found)

    async def live(_: web.Request) -> web.Response:
        why = stalled()
        return _json({"live": True}) if why is None else _json({"live": False, "why": why}, 503)

    async def show_health(_: web.Request) -> web.Response:
        return _json({"version": f"headrace {version}"})

    async def show_ready(_: web.Request) -> web.Response:
        found = ready()
        return _json({"ready": found}, 200 if found else 503)

    def hook(ingest: Ingest) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def take(request: web.Request) -> web.Response:
            if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected):
                return _json({"error": "AuthenticationRequired", "message": "send the token in DIR/ops_token"}, 401)
            try:
                return _json(await ingest(request.content.iter_chunked(_UPLOAD_PIECE)))
            except Refused as refused:
                return _json({"error": refused.reason.value, "message": refused.detail}, 400)

        return take

    body, headers = page()

    async def show_page(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    def look(river: Callable[[], Awaitable[dict[str, Any]]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def show_river(_: web.Request) -> web.Response:
            return _json(await river())

        return show_river

    app = web.Application()
    app.add_routes(
        (
            web.get("/metrics", metrics),
            web.get("/status", show_status),
            web.get("/live", live),
            web.get("/ready", show_ready),
            web.get("/xrpc/_health", show_health),
            *(() if river is None else (web.get("/", show_page), web.get("/river", look(river)))),
            *(web.post(path, hook(ingest)) for path, ingest in (hooks or {}).items()),
        ),
    )
    return app


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")
