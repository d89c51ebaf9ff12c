"""Readers who ask at moments of their own, whatever the answers take, and hold every answer against what must be.

An open model: a server that answers slowly is asked no less. Does not own what must be answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

import aiohttp
import orjson

Judge = Callable[[dict[str, Any]], bool]
_AT_ONCE = 64  # under way; more is a server that answers nobody


class OpenReaders:
    """An async context. `asks` are (path with its query, judge of the answer); `servers` may change meanwhile."""

    def __init__(self, servers: list[str], asks: list[tuple[str, Judge]], every: float) -> None:
        self.servers = servers
        self._asks = asks
        self._every = every
        self._under_way: set[asyncio.Task[None]] = set()
        self.wrong: list[object] = []
        self.answered: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60))
        self._clock = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._clock.cancel()
        await asyncio.gather(self._clock, return_exceptions=True)
        await self.drain()
        await self._session.close()

    async def have_read(self, server: str, more: int) -> None:
        """Return once the server has answered so many more."""
        wanted = self.answered.get(server, 0) + more
        async with asyncio.timeout(240):
            while self.answered.get(server, 0) < wanted and not self.wrong:
                await asyncio.wait({self._clock, *self._under_way}, return_when=asyncio.FIRST_COMPLETED, timeout=1)

    async def drain(self) -> None:
        """Return when all that was asked so far is answered."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    async def _run(self) -> None:
        """The moments are the clock's: the only place where time passes by itself."""
        loop, number = asyncio.get_running_loop(), 0
        due = loop.time()
        while True:
            due = max(due + self._every, loop.time())
            await asyncio.sleep(due - loop.time())
            for server in list(self.servers):
                if len(self._under_way) < _AT_ONCE:
                    task = asyncio.create_task(self._ask(server, *self._asks[number % len(self._asks)]))
                    self._under_way.add(task)
                    task.add_done_callback(self._under_way.discard)
            number += 1

    async def _ask(self, server: str, path: str, judge: Judge) -> None:
        try:
            async with self._session.get(server + path) as response:
                status, body = response.status, orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.wrong.append((server, path, repr(error)))
            return
        if status != 200 or not judge(body):
            self.wrong.append((server, path, status, body))
        self.answered[server] = self.answered.get(server, 0) + 1
