"""How many repos are fetched at once, in all and of a host; hosts that make us wait are left alone, longer each time.

Few fetches go on at once, and a handful of hosts that take a request and give nothing would have them all. Bounded in
hosts. Does not own what is fetched (`ingest.relay.resync`).
"""

from __future__ import annotations

from collections import Counter, OrderedDict

SLOW_MAX = 10_000  # hosts
_BUSY_PAUSE = 0.25  # until a host that has enough fetches under way is looked at again


class FetchPlaces:
    """Hosts are named by their origins; seconds are of whatever clock the caller has."""

    def __init__(self, at_once: int, at_once_host: int, *, longest: float) -> None:
        self.at_once = at_once
        self.at_once_host = at_once_host
        self._longest = longest
        self._taken: Counter[str] = Counter()
        self._slow: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """How often in a row, and until when they are left alone."""

    @property
    def free(self) -> bool:
        return self._taken.total() < self.at_once

    def closed_until(self, host: str, now: float) -> float | None:
        """When to look at the host again; None: it may be asked now."""
        _, left_alone = self._slow.get(host, (0, 0.0))
        if left_alone > now:
            return left_alone
        return now + _BUSY_PAUSE if self._taken[host] >= self.at_once_host else None

    def take(self, host: str) -> None:
        self._taken[host] += 1

    def leave(self, host: str) -> None:
        self._taken[host] -= 1
        if not self._taken[host]:
            del self._taken[host]

    def made_us_wait(self, host: str, now: float, first_pause: float) -> None:
        times = self._slow.pop(host, (0, 0.0))[0] + 1
        self._slow[host] = times, now + min(self._longest, first_pause * 2.0 ** min(times, 20))
        if len(self._slow) > SLOW_MAX:
            self._slow.popitem(last=False)

    def gave(self, host: str) -> None:
        """A whole repo."""
        self._slow.pop(host, None)
