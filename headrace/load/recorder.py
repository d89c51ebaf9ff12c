"""Counts what became of requests, by the second they were due in, until it is said.

Latency is from the moment a request was due, not from when it was sent: a server that stands still is charged for
every request that would have come meanwhile. Does not own percentiles (`series.py`).
"""

from __future__ import annotations

import time
from array import array
from collections import Counter

from headrace.load.messages import LATENESS, Cell, Checked

_LONGEST = 2**32 - 1
_DETAILS = 20


class Recorder:
    """Of one client process. Moments are of CLOCK_MONOTONIC."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self._good: dict[tuple[int, str], array[int]] = {}
        self._errors: dict[tuple[int, str], Counter[str]] = {}
        self._dropped: Counter[tuple[int, str]] = Counter()
        self._made: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()
        self._details: list[str] = []
        self.sent = 0

    def answered(self, operation: str, due: float) -> None:
        self._put(operation, due, time.monotonic() - due)

    def late(self, due: float, seconds: float) -> None:
        self.sent += 1
        self._put(LATENESS, due, seconds)

    def failed(self, operation: str, due: float, kind: str) -> None:
        self._errors.setdefault((int(due - self._begin), operation), Counter())[kind] += 1

    def dropped(self, operation: str, due: float) -> None:
        self._dropped[int(due - self._begin), operation] += 1

    def checked(self, what: str, wrong: str | None) -> None:
        """An answer was looked at; `wrong` says what was expected and found, if anything was."""
        self._made[what] += 1
        if wrong is not None:
            self._wrong[what] += 1
            if len(self._details) < _DETAILS:
                self._details.append(f"{what}: {wrong}"[:500])

    def drain(self) -> list[Cell]:
        """What has come since the last time."""
        good, self._good = self._good, {}
        errors, self._errors = self._errors, {}
        dropped, self._dropped = self._dropped, Counter()
        return [
            Cell(
                key[0],
                key[1],
                good[key].tobytes() if key in good else b"",
                dict(errors.get(key, {})),
                dropped.get(key, 0),
            )
            for key in sorted({*good, *errors, *dropped})
        ]

    def drain_checks(self) -> Checked | None:
        """As `drain`, of what was looked at."""
        if not self._made:
            return None
        found = Checked(dict(self._made), dict(self._wrong), self._details)
        self._made, self._wrong, self._details = Counter(), Counter(), []
        return found

    def _put(self, operation: str, due: float, seconds: float) -> None:
        key = (int(due - self._begin), operation)
        cell = self._good.get(key)
        if cell is None:
            cell = self._good[key] = array("I")
        cell.append(min(_LONGEST, max(0, int(seconds * 1_000_000))))
