"""What one process is made of while it runs: its parts, closed in reverse, and the failure of any of them.

Does not own which parts there are (`headrace/wiring*.py`) nor signals and the exit code (`headrace/serving.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from socket import socket
from typing import Any, Self

from aiohttp import web
from prometheus_client import CollectorRegistry

from headrace.listeners import address, bind, listen
from headrace.metrics.queues import QueuesCollector, Unit


class Running:
    """`addresses` are by listener name; `push` and `callback` say what ends a part."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.addresses: dict[str, str] = {}
        self.registry = CollectorRegistry()
        self._queues = QueuesCollector()
        self.push = self._stack.push_async_callback
        self.callback = self._stack.callback

    async def opened(self, start: Callable[[Self], Awaitable[None]]) -> Self:
        """Itself once `start` has put in every part; what fails while starting undoes what has started."""
        try:
            await start(self)
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        await self._stack.aclose()

    async def failed(self) -> BaseException:
        """Returns when a part has stopped by itself, with its reason."""
        return await asyncio.shield(self._failure)

    @property
    def healthy(self) -> bool:
        return not self._failure.done()

    def fail(self, cause: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_result(cause)

    def keep(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Keep a task for as long as the process; its end, or what it returns, is the process's failure."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        self.push(_cancel, task)

    def queue(self, name: str, waiting: Callable[[], int], limit: int, unit: Unit = "entries") -> None:
        """Show among the metrics how full a bounded queue is."""
        if not self._queues:
            self.registry.register(self._queues)
        self._queues.add(name, waiting, limit, unit)

    def bind(self, host: str, port: int, setting: str) -> socket:
        """A socket that does not listen yet. Raises BindError."""
        bound = bind(host, port, setting)
        self.callback(bound.close)
        return bound

    async def listen(self, name: str, runner: web.AppRunner | web.ServerRunner, bound: socket) -> None:
        """Serve, under this name among the addresses."""
        self.push(runner.cleanup)
        await listen(runner, bound)
        self.addresses[name] = address(bound)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            cause = task.exception() or task.result()
            self.fail(cause if isinstance(cause, BaseException) else RuntimeError(f"{task.get_name()} ended"))


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
