"""A bounded cache of slow answers: stale-while-revalidate, negative caching, one flight a key.

- fresh: answered from memory. Stale: answered from memory, refreshed behind. Expired or absent: waited for.
- A refusal is remembered too, for `negative` seconds. A transient one says nothing about the key: it never displaces an
  answer that is still usable, and is remembered for `transient` seconds, so that a crowd of askers is one attempt.
- `recall` tells what another memory knows of a key, with its age in seconds, before anything is fetched.
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
    transient: float = 1.0
    concurrency: int = 64
    waiting: int = 4096
    timeout: float = 10.0


@dataclass(slots=True)
class _Known(Generic[V]):
    """`since`: when the answer was had. `again`: before this moment no other is fetched behind it."""

    value: V | IdentityRefused
    since: float
    again: float = 0.0


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
        self._known: OrderedDict[str, _Known[V]] = OrderedDict()
        self._flights: dict[str, asyncio.Task[V | IdentityRefused]] = {}
        self._gate = asyncio.Semaphore(bounds.concurrency)
        self.recall: Callable[[str], tuple[V, float] | None] = lambda _: None
        self.hits = 0
        """Answers from memory; `misses` waited for a fetch; `recalled` are hits that `recall` told of."""
        self.misses = 0
        self.recalled = 0

    def __len__(self) -> int:
        return len(self._known)

    @property
    def flights(self) -> int:
        return len(self._flights)

    async def get(self, key: str, *, refresh: bool = False) -> V:
        """`refresh` waits for a fetch that starts after this call."""
        known = self._known.get(key) or self._recalled(key)
        if refresh:
            self.misses += 1
            earlier = self._flights.get(key)
            if earlier is not None:
                await asyncio.wait((earlier,))
            return _answer(await asyncio.shield(self._flight(key)))
        if known is not None:
            age = self._now() - known.since
            if age < self._lasts(known.value):
                self.hits += 1
                self._known.move_to_end(key)
                if not isinstance(known.value, IdentityRefused) and age >= self._bounds.fresh:
                    self._renew(key, known)
                return _answer(known.value)
        self.misses += 1
        return _answer(await asyncio.shield(self._flight(key)))

    def peek(self, key: str) -> V | None:
        """What is known, fresh or not, without fetching."""
        known = self._known.get(key)
        return None if known is None or isinstance(known.value, IdentityRefused) else known.value

    def put(self, key: str, value: V) -> None:
        """What has been learnt by other means, now."""
        self._remember(key, value, self._now())

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
        known = self._known.get(key)
        if isinstance(value, IdentityRefused) and value.transient and known is not None and self._usable(known):
            known.again = self._now() + self._bounds.transient
            return value
        self._remember(key, value, started)
        return value

    def _renew(self, key: str, known: _Known[V]) -> None:
        if len(self._flights) < self._bounds.concurrency and self._now() >= known.again:
            self._flight(key)

    def _recalled(self, key: str) -> _Known[V] | None:
        found = self.recall(key)
        if found is None or found[1] >= self._bounds.expire:
            return None
        self.recalled += 1
        return self._remember(key, found[0], self._now() - found[1])

    def _lasts(self, value: V | IdentityRefused) -> float:
        if not isinstance(value, IdentityRefused):
            return self._bounds.expire
        return self._bounds.transient if value.transient else self._bounds.negative

    def _usable(self, known: _Known[V]) -> bool:
        return not isinstance(known.value, IdentityRefused) and self._now() - known.since < self._bounds.expire

    def _remember(self, key: str, value: V | IdentityRefused, since: float) -> _Known[V]:
        known = self._known[key] = _Known(value, since)
        self._known.move_to_end(key)
        while len(self._known) > self._bounds.entries:
            self._known.popitem(last=False)
        return known


def _answer(value: V | IdentityRefused) -> V:
    if isinstance(value, IdentityRefused):
        # A fresh one each time: a raised exception keeps the traceback of whoever raised it last.
        raise IdentityRefused(IdentityReason(value.reason), value.detail, value.retry_after)
    return value
