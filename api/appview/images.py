"""GET /img/<preset>/plain/<did>/<cid>[@jpeg]: the blob as it was uploaded, for a PDS in the same process.

Does not own resizing: every preset gives the original, and a real image server may take this place (`image_url`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from api.com.atproto.sync.get_blob import blob_headers
from api.server import problem
from ingest.pds.pds import Pds
from schemas.cid import Cid
from schemas.errors import Refused, XrpcError
from schemas.syntax import Did

PREFIX = "/img/"
_PRESETS = frozenset(("avatar", "avatar_thumbnail", "banner", "feed_thumbnail", "feed_fullsize"))
_FORMATS = ("@jpeg", "@webp")
# An address names its bytes, which never change; that they are there may (a deletion, a takedown).
_CACHE = "public, max-age=3600"


def handler(pds: Pds) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def image(request: web.BaseRequest) -> web.StreamResponse:
        parts = request.path[len(PREFIX) :].split("/")
        if len(parts) != 4 or parts[0] not in _PRESETS or parts[1] != "plain":
            return problem(404, "NotFound", "No such image")
        try:
            did, cid = Did.parse(parts[2]), Cid.parse(_without_format(parts[3]))
            blob = await pds.sync.open_blob(did, cid)
        except (Refused, XrpcError):
            return problem(404, "NotFound", "No such image")
        if not blob.mime.startswith("image/"):
            return problem(404, "NotFound", "Not an image")
        headers = {
            **blob_headers(blob.mime, blob.size, cid),
            "Access-Control-Allow-Origin": "*",
            "Cache-Control": _CACHE,
            "Content-Type": blob.mime,
        }
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if request.method != "HEAD":
            async for chunk in blob.chunks:
                await response.write(chunk)
        await response.write_eof()
        return response

    return image


def _without_format(name: str) -> str:
    for each in _FORMATS:
        name = name.removesuffix(each)
    return name
