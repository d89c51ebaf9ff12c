"""How fast a host is asked: so many requests a second, so many at once, and not before it wants to be asked again.

One that makes us wait for what does not come is left alone too, longer each time, so that it holds no places.

Bounded in hosts: those that nobody waits for are forgotten, oldest first. Does not own what is asked.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest.relay.quotas import Bucket, Rate

HOSTS = 10_000
PAUSE_DEFAULT, PAUSE_MAX = 30.0, 3_600.0  # seconds after a 429
SLOW_FIRST = 5.0
_PATIENCE = 5.0  # a host that wants longer to be left alone is come back to


class LaterError(Exception):
    """The host wants to be left alone: come back in so many seconds. Not a fault of anybody's."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"in {seconds:.1f} s")
        self.seconds = seconds


class _Host:
    __slots__ = ("bucket", "closed_until", "room", "slow", "users")

    def __init__(self, rate: Rate, at_once: int) -> None:
        self.bucket = Bucket(rate)
        self.room = asyncio.Semaphore(at_once)
        self.closed_until = 0.0
        self.slow = 0
        self.users = 0


class Paces:
    """`async with paces.turn(url)`: one request. Seconds are of the loop's clock; `slow_first`: of the first pause."""

    def __init__(self, per_second: float, at_once_host: int, slow_first: float = SLOW_FIRST) -> None:
        self._rate = Rate(max(1.0, per_second), max(1.0, per_second) / per_second)
        self._at_once = at_once_host
        self._slow_first = slow_first
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    @asynccontextmanager
    async def turn(self, url: str) -> AsyncIterator[None]:
        """Raises LaterError rather than wait long for a host that asked for it."""
        host = self._of(url)
        host.users += 1
        try:
            async with host.room:
                while (wait := self._wait(host)) > 0:  # noqa: ASYNC110 - for time itself
                    await asyncio.sleep(wait)
                yield
        finally:
            host.users -= 1

    def pause(self, url: str, seconds: float | None) -> float:
        """The host has answered 429; how long it is left alone."""
        pause = PAUSE_DEFAULT if seconds is None else min(PAUSE_MAX, max(0.0, seconds))
        host = self._of(url)
        host.closed_until = max(host.closed_until, asyncio.get_running_loop().time() + pause)
        return pause

    def made_us_wait(self, url: str) -> None:
        """The host has let a deadline pass."""
        host = self._of(url)
        self.pause(url, self._slow_first * 2.0 ** min(host.slow, 20))
        host.slow += 1

    def gave(self, url: str) -> None:
        """A whole repo."""
        self._of(url).slow = 0

    def _wait(self, host: _Host) -> float:
        closed = host.closed_until - asyncio.get_running_loop().time()
        if closed > _PATIENCE:
            raise LaterError(closed)
        if closed > 0:
            return closed
        return 0.0 if host.bucket.take() else max(0.001, host.bucket.wait())

    def _of(self, url: str) -> _Host:
        host = self._hosts.get(url)
        if host is None:
            host = self._hosts[url] = _Host(self._rate, self._at_once)
            if len(self._hosts) > HOSTS:
                for old, known in list(self._hosts.items())[:100]:
                    if not known.users and old != url:
                        del self._hosts[old]
                        break
        self._hosts.move_to_end(url)
        return host
