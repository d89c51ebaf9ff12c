"""The did:plc directory's routes, answers and errors, as the public directory gives them.

GET / , /_health, /export, /:did, /:did/data, /:did/log, /:did/log/audit, /:did/log/last; POST /:did.
Errors are `{"message": ...}`. Does not own validation or storage (ingest/identity).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from ingest.identity.plc import millis
from ingest.identity.plc_op import PlcReason, PlcRefused
from ingest.identity.plc_store import MAX_EXPORT, PlcDirectory
from ingest.identity.reasons import IdentityReason, IdentityRefused
from schemas.syntax import Did

MAX_BODY = 102_400
VERSION = "0.1.0"

DIRECTORY = web.AppKey("plc_directory", PlcDirectory)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STATUS = {PlcReason.BUSY: 503, PlcReason.NOT_REGISTERED: 404, PlcReason.TOMBSTONED: 404}


def build_plc_app(directory: PlcDirectory) -> web.Application:
    """The application; the directory is opened and closed by its owner."""
    app = web.Application(middlewares=[_errors], client_max_size=MAX_BODY)
    app[DIRECTORY] = directory
    app.add_routes(
        (
            web.get("/", _home),
            web.get("/_health", _health),
            web.get("/export", _export),
            web.get("/{did}", _document),
            web.get("/{did}/data", _data),
            web.get("/{did}/log", _log),
            web.get("/{did}/log/audit", _audit),
            web.get("/{did}/log/last", _last),
            web.post("/{did}", _submit),
        ),
    )
    return app


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except PlcRefused as refused:
        response = _json({"message": refused.detail}, _STATUS.get(PlcReason(refused.reason), 400))
    except IdentityRefused as refused:
        absent = refused.reason in (IdentityReason.NOT_FOUND, IdentityReason.TOMBSTONED)
        response = _json({"message": refused.detail}, 404 if absent else 400)
    except web.HTTPException as error:
        response = _json({"message": error.reason}, error.status)
    # Pages in a browser read the directory too.
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


async def _home(_: web.Request) -> web.Response:
    return web.Response(text="This is the did:plc directory of a Headrace network. Try /<did> or /export.\n")


async def _health(request: web.Request) -> web.Response:
    if await request.app[DIRECTORY].healthy():
        return _json({"version": VERSION})
    return _json({"version": VERSION, "error": "Service Unavailable"}, 503)


async def _export(request: web.Request) -> web.Response:
    text, after = request.query.get("count", str(MAX_EXPORT)), request.query.get("after", "")
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if count < 1:
        raise PlcRefused(PlcReason.SHAPE, "Invalid count parameter")
    directory = request.app[DIRECTORY]
    if after.isascii() and after.isdigit() and len(after) < 19:
        found = await directory.export_after_seq(count, int(after))
    else:
        found = await directory.export(count, millis(after) if after else 0)
    lines = b"\n".join(orjson.dumps(item) for item in found)
    return web.Response(body=lines, content_type="application/jsonlines")


async def _document(request: web.Request) -> web.Response:
    document = await request.app[DIRECTORY].document(_did(request))
    return web.Response(body=orjson.dumps(document), content_type="application/did+ld+json")


async def _data(request: web.Request) -> web.Response:
    return _json(await request.app[DIRECTORY].data(_did(request)))


async def _log(request: web.Request) -> web.Response:
    return _json(await request.app[DIRECTORY].log(_did(request)))


async def _audit(request: web.Request) -> web.Response:
    return _json(await request.app[DIRECTORY].audit(_did(request)))


async def _last(request: web.Request) -> web.Response:
    return _json(await request.app[DIRECTORY].last(_did(request)))


async def _submit(request: web.Request) -> web.Response:
    body = await request.read()
    try:
        op = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise PlcRefused(PlcReason.SHAPE, f"Not a valid operation: {error}") from error
    await request.app[DIRECTORY].submit(_did(request), op)
    return web.Response(text="OK")


def _did(request: web.Request) -> Did:
    # Not checked: what is not registered is not found, whatever its form, and a genesis must hash to it.
    return Did(request.match_info["did"])


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")
