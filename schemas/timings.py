"""How long calls of one kind took: counts by bound, their sum, how many failed, how many are under way.

Plain numbers that whoever shows them reads; counting one costs about a microsecond. Does not own names and labels.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable
from time import monotonic
from typing import Final, TypeVar

BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds

_T = TypeVar("_T")


class Timings:
    """`counts[n]` are calls of `BOUNDS[n]` at most and of more than the bound before; the last are the rest."""

    __slots__ = ("counts", "failed", "seconds", "under_way")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.failed = 0
        self.under_way = 0

    def took(self, seconds: float) -> None:
        """One call came to its end. HOT."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    async def of(self, call: Awaitable[_T]) -> _T:
        """What `call` gives; one that raises has failed and is not timed, one that is cancelled is neither. HOT."""
        self.under_way += 1
        begun = monotonic()
        try:
            found = await call
        except Exception:  # a cancellation is none
            self.failed += 1
            raise
        finally:
            self.under_way -= 1
        self.took(monotonic() - begun)
        return found
