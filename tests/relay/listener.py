"""A relay's listener over a `World`, asked over real HTTP."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from headrace.running import Running
from headrace.settings import load
from headrace.wiring import relay_listener
from tests.relay.world.relay import World

SECRET = "a secret of this test"
SYNC = "com.atproto.sync"


class Listener:
    """`get` and `post` give (status, JSON); `url` is the listener's."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def get(self, path: str, **params: Any) -> tuple[int, Any]:
        async with self.session.get(f"{self.url}{path}", params=params) as response:
            return response.status, await response.json(content_type=None)

    async def ask(self, method: str, **params: Any) -> tuple[int, Any]:
        return await self.get(f"/xrpc/{SYNC}.{method}", **params)

    async def admin(self, path: str, body: Any = None, *, secret: str = SECRET, **params: Any) -> tuple[int, Any]:
        """GET without a body, else POST."""
        headers = {"Authorization": "Basic " + base64.b64encode(f"admin:{secret}".encode()).decode()}
        verb = "GET" if body is None else "POST"
        url = f"{self.url}/admin/{path}"
        async with self.session.request(verb, url, json=body, params=params, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def crawl(self, hostname: str, **headers: str) -> tuple[int, Any]:
        url = f"{self.url}/xrpc/{SYNC}.requestCrawl"
        async with self.session.post(url, json={"hostname": hostname}, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    def frames(self, query: str = "?cursor=0") -> Any:
        return self.session.ws_connect(f"{self.url}/xrpc/{SYNC}.subscribeRepos{query}", max_msg_size=0)

    def lines(self, query: str = "", **headers: str) -> Any:
        return self.session.ws_connect(f"{self.url}/subscribe{query}", max_msg_size=0, headers=headers)


@asynccontextmanager
async def listening(world: World, data: Path, **settings: Any) -> AsyncIterator[Listener]:
    running = Running()
    given = load({"data": data, "rate_limit_scale": 1_000, **settings})
    bound = running.bind("127.0.0.1", 0, "relay_port")
    try:
        await relay_listener.serve(
            running, given, bound, log=world.log, relay=world.relay, backfills=world.relay, admin_token=SECRET
        )
        async with aiohttp.ClientSession() as session:
            yield Listener(running.addresses["xrpc"], session)
    finally:
        await running.close()
