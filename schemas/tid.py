"""Timestamp identifiers: 53 bits of microseconds and 10 bits of clock id, in sortable base32.

Source: https://atproto.com/specs/tid. Text order is time order.
Does not own the wall clock: the caller passes `now`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Self

from schemas.errors import InvariantError
from schemas.syntax import SyntaxReason, SyntaxRefused

_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_DIGITS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_MICROS_LETTERS = 11  # the other two are the clock id
_FORM = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}").fullmatch
MICROS_MAX = 2**53 - 1
CLOCK_ID_MAX = 2**10 - 1


class Tid(str):
    """A TID; `Tid(text)` does not check, `parse` does."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: str) -> Self:
        """Check the form; raises SyntaxRefused."""
        if _FORM(value) is None:
            raise SyntaxRefused(SyntaxReason.TID, f"expected 13 letters of {_ALPHABET}, found {value[:40]!r}")
        return cls(value)

    @classmethod
    def is_valid(cls, value: str) -> bool:
        return _FORM(value) is not None

    @property
    def micros(self) -> int:
        """Unix microseconds."""
        return _integer(self) >> 10

    @property
    def clock_id(self) -> int:
        return _integer(self) & CLOCK_ID_MAX


def tid_from_micros(us: int, clock_id: int) -> Tid:
    """The TID of this moment; `us` is 0 .. 2^53-1, `clock_id` 0 .. 1023."""
    if not (0 <= us <= MICROS_MAX and 0 <= clock_id <= CLOCK_ID_MAX):
        raise InvariantError(f"expected 53 bits of microseconds and 10 of clock id, found {us} and {clock_id}")
    return _tid(us << 10 | clock_id)


class TidClock:
    """Gives TIDs that rise strictly, whatever `now` (unix microseconds) does."""

    __slots__ = ("_clock_id", "_last", "_now")

    def __init__(self, clock_id: int, now: Callable[[], int]) -> None:
        if not 0 <= clock_id <= CLOCK_ID_MAX:
            raise InvariantError(f"expected a clock id of 0 .. {CLOCK_ID_MAX}, found {clock_id}")
        self._clock_id = clock_id
        self._now = now
        self._last = -1

    def next(self, after: Tid | None = None) -> Tid:
        """A TID above every one that this clock has given without or with a lower `after`, and above `after`.

        A repo whose `after` lies in the future does not drag the clock, and so other repos, with it.
        """
        us = max(self._now(), self._last + 1)
        self._last = us
        tid = tid_from_micros(us, self._clock_id)
        if after is not None and tid[:_MICROS_LETTERS] <= after[:_MICROS_LETTERS]:
            return tid_from_micros(after.micros + 1, self._clock_id)
        return tid


def _tid(number: int) -> Tid:
    pairs = _PAIRS
    return Tid(
        _ALPHABET[number >> 60]
        + pairs[number >> 50 & 1023]
        + pairs[number >> 40 & 1023]
        + pairs[number >> 30 & 1023]
        + pairs[number >> 20 & 1023]
        + pairs[number >> 10 & 1023]
        + pairs[number & 1023]
    )


def _integer(text: str) -> int:
    return int(text.translate(_DIGITS), 32)
