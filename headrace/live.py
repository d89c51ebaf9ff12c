"""Which generation an AppView reads: the registry is asked every second, and readers are switched in one step.

Requests under way end with what they began with; the former generation's store is closed once they have. A live
generation of a shape that this version does not read is not read: whoever reads another goes on with it, and who starts
takes the one of its settings, if that is complete. So AppViews of two versions serve while views of another shape are
flipped to. Does not own the registry (`views.generations_scylla`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from schemas.errors import InvariantError
from views.generations import Generation
from views.store_scylla import ScyllaStore, StoreUnavailableError

ASK_SECONDS = 1.0
READY_SECONDS = 10.0  # for so long a store that does not answer is not missed
_ENDED_SECONDS = 30.0  # no request is under way for longer

_log = structlog.get_logger()


class Pointer(Protocol):
    async def live(self) -> str | None:
        """The name of the generation that is read; None while there is none."""
        ...

    async def all(self) -> list[Generation]: ...


class LiveStore:
    """`open` the live one, then `follow` until cancelled; `close` what is open."""

    def __init__(
        self,
        pointer: Pointer,
        opening: Callable[[str], Awaitable[ScyllaStore]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pointer = pointer
        self._opening = opening
        self._now = now
        self._former: list[ScyllaStore] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._known: float | None = None  # when a live generation was last told of
        self._unread: str | None = None  # the live one, when it is of another shape
        self.store: ScyllaStore

    @property
    def ready(self) -> bool:
        """Whether readers are to be sent here: the store answers, and a generation is live."""
        return self._known is not None and self._now() - self._known < READY_SECONDS

    async def open(self, fallback: str) -> ScyllaStore:
        """The live generation, or `fallback` while none is, or while the live one is of another shape.

        Raises InvariantError when neither can be read, or `fallback` does not hold all of the log yet.
        """
        name = await self._ask()
        try:
            self.store = await self._opening(name or fallback)
        except InvariantError as error:
            if name is None or name == fallback or not await self._is_complete(fallback):
                raise
            self.store = await self._opening(fallback)
            self._leave_unread(name, error)
        return self.store

    async def follow(self, switched: Callable[[ScyllaStore], None]) -> None:
        """Tell of another live generation, opened; the store's absence is waited out."""
        while True:
            await asyncio.sleep(ASK_SECONDS)
            try:
                name = await self._ask()
                if name == self.store.generation:
                    self._unread = None
                if name is None or name in (self.store.generation, self._unread):
                    continue
                found = await self._opened(name)
            except StoreUnavailableError as error:
                _log.warning("the live generation cannot be asked for", error=repr(error))
                continue
            if found is None:
                continue
            former, self.store = self.store, found
            switched(found)
            _log.info("reading another generation", generation=name, former=former.generation)
            self._former.append(former)
            closing = asyncio.create_task(self._close_later(former))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        for closing in self._closing:
            closing.cancel()
        for store in (*self._former, self.store):
            await store.close()

    async def _ask(self) -> str | None:
        name = await self._pointer.live()
        self._known = None if name is None else self._now()
        return name

    async def _opened(self, name: str) -> ScyllaStore | None:
        """None for one that this version does not read."""
        try:
            return await self._opening(name)
        except InvariantError as error:
            self._leave_unread(name, error)
            return None

    async def _is_complete(self, name: str) -> bool:
        return any(each.name == name and each.state != "building" for each in await self._pointer.all())

    def _leave_unread(self, name: str, error: InvariantError) -> None:
        self._unread = name
        _log.warning("the live generation is not read", live=name, reading=self.store.generation, cause=str(error))

    async def _close_later(self, former: ScyllaStore) -> None:
        await asyncio.sleep(_ENDED_SECONDS)
        self._former.remove(former)
        await former.close()
