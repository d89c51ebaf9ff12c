"""The few public pages beside XRPC: handles and the server's DID for resolvers, a word for people and robots.

https://atproto.com/specs/handle#handle-resolution, https://atproto.com/specs/did. Does not own handles
(`ingest/pds`) nor TLS, which stands before this process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from aiohttp import web

from api.server import Handler
from api.xrpc import Services
from schemas.errors import XrpcError
from schemas.syntax import Handle

_TEXT = {"Content-Type": "text/plain; charset=utf-8", "Access-Control-Allow-Origin": "*"}
_ROBOTS = "# Hello!\n\n# Crawling the public API is allowed\nUser-agent: *\nAllow: /\n"

_SERVICES = {
    "pds": ("#atproto_pds", "AtprotoPersonalDataServer"),
    "appview": ("#bsky_appview", "BskyAppView"),
}

# Handle -> the DID of the account hosted here that has it, or None.
DidOfHandle = Callable[[Handle], Awaitable[str | None]]


def pages(services: Services, did_of_handle: DidOfHandle) -> dict[str, Handler]:
    config = services.config
    welcome = (
        f"Headrace {config.version}, an AT Protocol server.\n\n"
        f"  methods   {config.public_url}/xrpc/\n  health    {config.public_url}/xrpc/_health\n"
    )

    async def front(_: web.BaseRequest) -> web.Response:
        return web.Response(text=welcome, headers=_TEXT)

    async def robots(_: web.BaseRequest) -> web.Response:
        return web.Response(text=_ROBOTS, headers=_TEXT)

    async def atproto_did(request: web.BaseRequest) -> web.Response:
        host = request.headers.get("Host", "").rpartition(":")[0] or request.headers.get("Host", "")
        try:
            did = await did_of_handle(Handle(host.lower())) if Handle.is_valid(host.lower()) else None
        except XrpcError:
            did = None
        if did is None:
            return web.Response(status=404, text="no handle of this server\n", headers=_TEXT)
        return web.Response(text=did, headers=_TEXT)

    async def did_json(_: web.BaseRequest) -> web.Response:
        return web.Response(
            body=did_document(config.service_did, config.public_url, config.offers),
            headers={"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"},
        )

    found: dict[str, Handler] = {
        "/": front,
        "/robots.txt": robots,
        "/.well-known/atproto-did": atproto_did,
    }
    if config.service_did.startswith("did:web:"):
        found["/.well-known/did.json"] = did_json
    return found


def did_document(did: str, url: str, offers: Sequence[str]) -> bytes:
    """The did:web document of a server that is PDS, AppView or both; it signs nothing, so it has no keys."""
    document: dict[str, Any] = {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "service": [
            {"id": name, "type": kind, "serviceEndpoint": url} for name, kind in map(_SERVICES.__getitem__, offers)
        ],
    }
    return orjson.dumps(document)
