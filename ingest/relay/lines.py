"""Work in line: one thing at a time for an account, many accounts at once, bounded in number and bytes.

An error of ours in any of it ends all of it: see `failed`. Does not own what is done (`ingest.relay.intake`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ingest.relay.source import Source

ROOM = 4_096  # messages under way, of all sources together
ROOM_BYTES = 128 << 20


class Lines:
    """`put` waits for room; `in_line` does not. `messages` and `size` (bytes) are what is under way by `put`."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(ROOM)
        self.messages = 0
        self.size = 0
        self._drained = asyncio.Event()
        self._last: dict[str, asyncio.Task[None]] = {}
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    @property
    def busy(self) -> int:
        """Accounts with something under way."""
        return len(self._last)

    async def failed(self) -> BaseException:
        """Returns when an error of ours has ended the work, with it."""
        return await asyncio.shield(self._failure)

    def check(self) -> None:
        """Raises what has ended the work."""
        if self._failure.done():
            raise self._failure.result()

    async def put(
        self,
        source: Source,
        did: str,
        size: int,
        work: Callable[[], Coroutine[Any, Any, None]],
        done: Callable[[], None],
    ) -> None:
        """Wait for room for `size` bytes, of the source and of all, then put `work` in the account's line.

        `done` is called when it has ended, unless all of it has. Who is cancelled while it waits has put nothing.
        """
        await source.room.acquire()
        try:
            await self._room.acquire()
        except BaseException:
            source.room.release()
            raise
        try:
            while self.size and self.size + size > ROOM_BYTES:
                self._drained.clear()
                await self._drained.wait()
        except BaseException:
            self._room.release()
            source.room.release()
            raise
        self.size += size
        self.messages += 1

        def leave(_: asyncio.Task[None]) -> None:
            source.room.release()
            self._room.release()
            self.size -= size
            self.messages -= 1
            self._drained.set()
            if not self._failure.done():
                done()

        self.in_line(did, work()).add_done_callback(leave)

    def in_line(self, did: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do `work` after all that is already in the account's line, and before what comes later."""
        task = asyncio.get_running_loop().create_task(_after(self._last.get(did), work))
        self._last[did] = task

        def ended(done: asyncio.Task[None]) -> None:
            work.close()  # of a task that was cancelled before its first step nobody has awaited it
            self._ended(did, done)

        task.add_done_callback(ended)
        return task

    async def idle(self) -> None:
        """Return once nothing is under way. Raises what has ended the work."""
        while self._last:
            await asyncio.wait(set(self._last.values()))
        self.check()

    async def settle(self, seconds: float) -> None:
        """Give what is under way so long to end."""
        if self._last:
            await asyncio.wait(set(self._last.values()), timeout=seconds)

    async def close(self) -> None:
        """Give up what is under way: cursors have not passed it."""
        tasks = list(self._last.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, did: str, task: asyncio.Task[None]) -> None:
        if self._last.get(did) is task:
            del self._last[did]
        cause = asyncio.CancelledError("the intake was closed") if task.cancelled() else task.exception()
        if cause is not None and not self._failure.done():
            self._failure.set_result(cause)


async def _after(before: asyncio.Task[None] | None, work: Coroutine[Any, Any, None]) -> None:
    if before is not None:
        await asyncio.wait((before,))
    await work
