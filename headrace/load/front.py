"""The did:plc directory of a target that crawls players: those it hosts by their archives, all others by a real one.

An account of an archive has the document that was recorded, with the player for its PDS: nobody has the keys to sign an
operation that says so. New accounts are founded in the directory behind, which all else is passed on to. Does not own
documents (`serve_archive.py`) nor that directory (`headrace plc`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

import aiohttp
from aiohttp import web

from headrace.listeners import address, bind, listen
from headrace.load.serve_archive import ArchiveHost
from schemas.syntax import Did

_MOST = 1 << 20  # bytes of a question
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class Front:
    """Use as an async context; `url` is the directory, `behind` the address of the real one."""

    def __init__(self, behind: str, hosts: Sequence[ArchiveHost]) -> None:
        self.url = ""
        self._behind, self._hosts = behind, hosts

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_MOST)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        self._socket = bind("127.0.0.1", 0, "port")
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await listen(self._runner, self._socket)
        self.url = address(self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        self._socket.close()
        await self._session.close()

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if request.method == "GET" and path.startswith("did:"):
            for host in self._hosts:
                document = await asyncio.to_thread(host.document, Did(path))
                if document is not None:
                    return web.json_response(document, content_type="application/did+ld+json")
        headers = {name: request.headers[name] for name in ("Content-Type",) if name in request.headers}
        body = await request.read()
        url = self._behind + request.raw_path
        try:
            async with self._session.request(request.method, url, data=body or None, headers=headers) as found:
                return web.Response(
                    body=await found.read(), status=found.status, headers={"Content-Type": found.content_type}
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return web.json_response({"message": f"the directory behind is away: {error}"}, status=502)
