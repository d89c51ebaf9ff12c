"""Streams of numbers by seed and purpose, the same on every machine.

Python promises that `Random.random` gives the same sequence for the same integer seed; everything here is made of that
by multiplication and comparison, which IEEE 754 fixes. No logarithm, power or hash of the platform's takes part.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import accumulate
from random import Random
from typing import TypeVar

T = TypeVar("T")


def stream(seed: int, *purpose: object) -> Callable[[], float]:
    """Numbers of 0 <= x < 1. Streams of different purposes have nothing to do with each other."""
    named = ":".join(map(str, (seed, *purpose)))
    return Random(int.from_bytes(sha256(named.encode()).digest(), "big")).random  # noqa: S311 - not for secrets


def secret(seed: int, *purpose: object) -> bytes:
    """32 bytes for a key that everybody may know."""
    return sha256(b"key\0" + ":".join(map(str, (seed, *purpose))).encode()).digest()


def slots(weights: Sequence[tuple[T, int]]) -> list[T]:
    """A list in which each value stands as often as its weight says: pick one by index."""
    return [value for value, weight in weights for _ in range(weight)]


def quantile(table: Sequence[tuple[int, int]], u: float) -> int:
    """The value at u of a distribution given by (per 10,000, value) points, straight between them."""
    at = u * 10_000
    right = min(bisect_right(table, at, key=lambda point: point[0]), len(table) - 1)
    (x0, y0), (x1, y1) = table[right - 1], table[right]
    return y0 + int((y1 - y0) * (at - x0) / (x1 - x0))


class Weighted:
    """Picks an index by integer weights."""

    def __init__(self, weights: Sequence[int]) -> None:
        self._ends = list(accumulate(weights))
        self._total = self._ends[-1]

    def pick(self, u: float) -> int:
        """HOT."""
        return bisect_right(self._ends, int(u * self._total))
