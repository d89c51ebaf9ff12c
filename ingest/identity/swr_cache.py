"""A bounded cache of slow answers: stale-while-revalidate, negative caching, one flight a key.

- fresh: answered from memory. Stale: answered from memory, refreshed behind. Expired or absent: waited for.
- A refusal is remembered too, for `negative` seconds; a transient one never displaces an answer that is still usable.
- One flight a key at a time; at most `concurrency` at work and `waiting` more in line, beyond which BUSY.
- Time is a function given at construction; nothing here sleeps.
Does not own what an answer is, nor how it is fetched.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

from ingest.identity.reasons import IdentityReason, IdentityRefused

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds and counts; the defaults are those of the reference's identity cache (1 h stale, 24 h expired)."""

    entries: int = 100_000
    fresh: float = 3600.0
    expire: float = 86_400.0
    negative: float = 60.0
    concurrency: int = 64
    waiting: int = 4096
    timeout: float = 10.0


class SwrCache(Generic[V]):
    """`await get(key)` gives the answer of `load(key)`, or raises its IdentityRefused."""

    def __init__(
        self,
        load: Callable[[str], Awaitable[V]],
        bounds: Bounds,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._load = load
        self._bounds = bounds
        self._now = now
        self._known: OrderedDict[str, tuple[V | IdentityRefused, float]] = OrderedDict()
        self._flights: dict[str, asyncio.Task[V | IdentityRefused]] = {}
        self._gate = asyncio.Semaphore(bounds.concurrency)
        self.hits = 0
        """Answers from memory; `misses` waited for a fetch."""
        self.misses = 0

    def __len__(self) -> int:
        return len(self._known)

    @property
    def flights(self) -> int:
        return len(self._flights)

    async def get(self, key: str, *, refresh: bool = False) -> V:
        """`refresh` waits for a fetch that starts after this call."""
        if refresh:
            self.misses += 1
            earlier = self._flights.get(key)
            if earlier is not None:
                await asyncio.wait((earlier,))
            return _answer(await asyncio.shield(self._flight(key)))
        known = self._known.get(key)
        if known is not None:
            value, since = known
            age, bounds = self._now() - since, self._bounds
            negative = isinstance(value, IdentityRefused)
            if age < (bounds.negative if negative else bounds.expire):
                self.hits += 1
                self._known.move_to_end(key)
                if not negative and age >= bounds.fresh and len(self._flights) < bounds.concurrency:
                    self._flight(key)
                return _answer(value)
        self.misses += 1
        return _answer(await asyncio.shield(self._flight(key)))

    def peek(self, key: str) -> V | None:
        """What is known, fresh or not, without fetching."""
        known = self._known.get(key)
        return None if known is None or isinstance(known[0], IdentityRefused) else known[0]

    def forget(self, key: str) -> None:
        self._known.pop(key, None)

    async def close(self) -> None:
        """End all flights; whoever waits for one is told CancelledError."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _flight(self, key: str) -> asyncio.Task[V | IdentityRefused]:
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= self._bounds.concurrency + self._bounds.waiting:
                raise IdentityRefused(IdentityReason.BUSY, f"{len(self._flights)} resolutions are under way; try later")
            flight = self._flights[key] = asyncio.create_task(self._fetch(key))
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return flight

    async def _fetch(self, key: str) -> V | IdentityRefused:
        value: V | IdentityRefused
        try:
            async with self._gate:
                started = self._now()
                async with asyncio.timeout(self._bounds.timeout):
                    value = await self._load(key)
        except IdentityRefused as refused:
            value, started = refused, self._now()
        except TimeoutError:
            value = IdentityRefused(IdentityReason.TIMEOUT, f"{key[:80]}: nothing within {self._bounds.timeout} s")
            started = self._now()
        if isinstance(value, IdentityRefused) and value.transient and self._usable(key):
            return value
        self._remember(key, value, started)
        return value

    def _usable(self, key: str) -> bool:
        known = self._known.get(key)
        if known is None or isinstance(known[0], IdentityRefused):
            return False
        return self._now() - known[1] < self._bounds.expire

    def _remember(self, key: str, value: V | IdentityRefused, since: float | None = None) -> None:
        self._known[key] = (value, self._now() if since is None else since)
        self._known.move_to_end(key)
        while len(self._known) > self._bounds.entries:
            self._known.popitem(last=False)


def _answer(value: V | IdentityRefused) -> V:
    if isinstance(value, IdentityRefused):
        # A fresh one each time: a raised exception keeps the traceback of whoever raised it last.
        raise IdentityRefused(IdentityReason(value.reason), value.detail)
    return value
