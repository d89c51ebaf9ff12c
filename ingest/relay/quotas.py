"""How much may come: buckets that fill with time, windows that count, both bounded and without a clock of their own.

Sources: the limits of indigo's relay (a host: 50/s and one more a thousand accounts, 2,500/h and as many more as it
has accounts, 20,000/day and ten more an account). Does not own who is limited (`ingest.relay.hosts`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from math import inf
from time import monotonic
from typing import NamedTuple

Now = Callable[[], float]
"""Seconds that only rise."""


class Rate(NamedTuple):
    """At most `most` in `seconds`."""

    most: float
    seconds: float


class Bucket:
    """Full at first; holds `rate.most` and fills evenly."""

    __slots__ = ("_at", "_left", "_now", "rate")

    def __init__(self, rate: Rate, now: Now = monotonic) -> None:
        self.rate = rate
        self._now = now
        self._left = float(rate.most)
        self._at = now()

    def take(self) -> bool:
        """Whether there was one left."""
        self._fill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait(self) -> float:
        """Seconds until there is one; 0 when there is."""
        self._fill()
        most, seconds = self.rate
        return 0.0 if self._left >= 1 else (1 - self._left) * seconds / max(most, 1e-9)

    def _fill(self) -> None:
        now = self._now()
        most, seconds = self.rate
        self._left = most if most == inf else min(most, self._left + (now - self._at) * most / seconds)
        self._at = now


class Buckets:
    """Several rates at once: one is taken from all of them, or waited for."""

    def __init__(self, rates: tuple[Rate, ...], now: Now = monotonic) -> None:
        self._buckets = [Bucket(rate, now) for rate in rates]

    def take(self) -> float:
        """0 when one was taken; else the seconds to wait before trying again."""
        wait = max((bucket.wait() for bucket in self._buckets), default=0.0)
        if wait > 0:
            return wait
        for bucket in self._buckets:
            bucket.take()
        return 0.0

    def change(self, rates: tuple[Rate, ...]) -> None:
        """Other rates from now on; what is left stays, as far as it fits."""
        for bucket, rate in zip(self._buckets, rates, strict=True):
            bucket.rate = rate


class Windows:
    """At most `rate.most` in a window of `rate.seconds`, a key; the keys of the newest windows are kept.

    A key that is forgotten begins anew: with `keys` of them busy at once the limit is no longer exact.
    """

    def __init__(self, rate: Rate, keys: int = 100_000, now: Now = monotonic) -> None:
        self._rate = rate
        self._keys = keys
        self._now = now
        self._counts: OrderedDict[Hashable, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def take(self, key: Hashable) -> bool:
        now = self._now()
        found = self._counts.get(key)
        if found is None or now - found[0] >= self._rate.seconds:
            self._counts[key] = [now, 1.0]
            self._counts.move_to_end(key)
            if len(self._counts) > self._keys:
                self._counts.popitem(last=False)
            return self._rate.most >= 1
        if found[1] >= self._rate.most:
            return False
        found[1] += 1
        return True


def host_rates(accounts: int, *, trusted: bool) -> tuple[Rate, Rate, Rate]:
    """Per second, hour and day, of a host with so many accounts."""
    if trusted:
        return Rate(5_000, 1), Rate(5_000 * 3_600, 3_600), Rate(5_000 * 86_400, 86_400)
    return Rate(50 + accounts / 1_000, 1), Rate(2_500 + accounts, 3_600), Rate(20_000 + 10 * accounts, 86_400)
