"""Wakes the readers of a log in this process when entries are committed.

Owns no entries: a reader that wakes asks the log for them. Everything happens on one loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence


class LoopChanges:
    """`ingest.log.Changes` on the running loop."""

    def __init__(
        self,
        ends: Callable[[], Sequence[int]],
        newest_seq: Callable[[], int],
        operations_ends: Callable[[], Sequence[int]] = tuple,
    ) -> None:
        self._ends = ends
        self._operations_ends = operations_ends
        self._newest_seq = newest_seq
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._ids = 0
        self._waiting: dict[asyncio.Future[None], None] = {}

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the loop after every commit; the result unsubscribes."""
        self._ids += 1
        mine = self._ids
        self._callbacks[mine] = callback
        return lambda: self._callbacks.pop(mine, None) and None

    async def wait(self, seen: Sequence[int], operations: Sequence[int] | None = None) -> None:
        """Return once some shard's end of `records`, or of `operations` if that is given, is above what was seen."""
        while not _above(self._ends(), seen) and not (
            operations is not None and _above(self._operations_ends(), operations)
        ):
            await self.next()

    async def wait_firehose(self, seen: int) -> None:
        """Return once the newest seq is above `seen`."""
        while self._newest_seq() <= seen:
            await self.next()

    def notify(self) -> None:
        """The log has committed."""
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(None)
        for callback in tuple(self._callbacks.values()):
            callback()

    async def next(self) -> None:
        """Return at the next commit."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        try:
            await future
        finally:
            self._waiting.pop(future, None)


def _above(ends: Sequence[int], seen: Sequence[int]) -> bool:
    return any(end > had for end, had in zip(ends, seen, strict=True))
