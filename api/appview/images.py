"""GET /img/<preset>/plain/<did>/<cid>[@jpeg]: the blob as it was uploaded, from the account's PDS.

A PDS in the same process gives it (`handler`); else the address of the account's PDS is told (`redirect`), so that no
byte of strangers' passes here. Does not own resizing: every preset gives the original, and a real image server may take
this place (`image_url`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from aiohttp import web

from api.com.atproto.sync.get_blob import blob_headers
from api.server import Handler, problem
from ingest.identity.resolver import DidResolver
from ingest.pds.pds import Pds
from schemas.cid import Cid
from schemas.errors import Refused, XrpcError
from schemas.syntax import Did, SyntaxReason, SyntaxRefused

PREFIX = "/img/"
_PRESETS = frozenset(("avatar", "avatar_thumbnail", "banner", "feed_thumbnail", "feed_fullsize"))
_FORMATS = ("@jpeg", "@webp")
# An address names its bytes, which never change; that they are there may (a deletion, a takedown).
_CACHE = "public, max-age=3600"


Shown = Callable[[str], Awaitable[bool]]


def handler(pds: Pds) -> Handler:
    async def image(request: web.BaseRequest) -> web.StreamResponse:
        try:
            did, cid = _named(request.path)
            blob = await pds.sync.open_blob(did, cid)
        except (Refused, XrpcError):
            return _no_image()
        if not blob.mime.startswith("image/"):
            return _no_image()
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


def redirect(resolver: DidResolver, shown: Shown) -> Handler:
    """To the PDS that the account's DID document names; `shown(did)` says whether the account may be seen."""

    async def image(request: web.BaseRequest) -> web.StreamResponse:
        try:
            did, cid = _named(request.path)
            pds = (await resolver.did_document(did)).pds if await shown(did) else None
        except Refused:
            pds = None
        if pds is None:
            return _no_image()
        query = urlencode({"did": did, "cid": str(cid)})
        headers = {
            "Access-Control-Allow-Origin": "*",
            "Cache-Control": _CACHE,
            "Location": f"{pds}/xrpc/com.atproto.sync.getBlob?{query}",
        }
        return web.Response(status=302, headers=headers)

    return image


def _named(path: str) -> tuple[Did, Cid]:
    """Whose blob a path names. Raises Refused."""
    parts = path[len(PREFIX) :].split("/")
    if len(parts) != 4 or parts[0] not in _PRESETS or parts[1] != "plain":
        raise SyntaxRefused(SyntaxReason.DID, "expected <preset>/plain/<did>/<cid>")
    return Did.parse(parts[2]), Cid.parse(_without_format(parts[3]))


def _no_image() -> web.Response:
    return problem(404, "NotFound", "No such image")


def _without_format(name: str) -> str:
    for each in _FORMATS:
        name = name.removesuffix(each)
    return name
