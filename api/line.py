"""Those who wait in line for a place: who is next, who has waited too long, who is not let wait at all.

A line that takes all in the order in which they came is a good one for a burst, which ends. Under a load that lasts it
is full for good: nobody is answered sooner than the line is long, and nobody more. So a line that has stood for a while
(some waited all the time) turns another way: who comes then goes first, waits a moment at most, and no more of them
wait than there are places. Whoever came before keeps the time that was promised, and goes when nobody newer waits.

After CoDel (RFC 8289: a queue is bad when it stands, not when it is long) and what Facebook made of it for servers
(Maurer, "Fail at Scale", ACM Queue 13:8: adaptive LIFO and controlled delay). Pure: it is told the time. Does not own
places, nor how anybody is told (`api/gate.py`).
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

STANDS_AFTER = 1 / 4
"""Of the time that one may wait: how long some must wait without a break until the line stands."""
HURRIED = 1 / 20
"""Of the same: how long one may wait that came to a line which stands (CoDel: 5 to 10 % of an interval)."""


class Line(Generic[T]):
    """Of at most `most`, who wait `seconds` at most, for `places` places. Times are seconds of one clock that rises."""

    def __init__(self, most: int, seconds: float, places: int) -> None:
        self._most, self._seconds = most, seconds
        self._most_hurried = min(most, places)
        self._patient: deque[tuple[float, T]] = deque()  # until when; all of them came before all of the hurried
        self._hurried: deque[tuple[float, T]] = deque()
        self._since: float | None = None  # some have waited all the time

    def __len__(self) -> int:
        return len(self._patient) + len(self._hurried)

    def stands(self, now: float) -> bool:
        """Whether some have waited all of the last while."""
        return self._since is not None and now - self._since >= self._seconds * STANDS_AFTER

    def has_room(self, now: float) -> bool:
        """Whether one more may wait."""
        if self.stands(now):
            return len(self._hurried) < self._most_hurried
        return len(self) < self._most

    def join(self, who: T, now: float) -> tuple[float, T | None]:
        """Wait, where there is room: until when, and who has to go for it (the first of a line that is full)."""
        if self._since is None:
            self._since = now
        if not self.stands(now):
            until = now + self._seconds
            self._patient.append((until, who))
            return until, None
        gone = self._patient.popleft()[1] if len(self) >= self._most else None
        until = now + self._seconds * HURRIED
        self._hurried.append((until, who))
        return until, gone

    def next(self, now: float) -> T:
        """Whose turn it is: the first, or the last when the line stands. Raises IndexError when nobody waits."""
        if self._hurried:
            return self._hurried.pop()[1]
        return (self._patient.pop() if self.stands(now) else self._patient.popleft())[1]

    def rest(self) -> None:
        """Nobody waits, and there is a place: whatever line there was has ended."""
        self._since = None

    def late(self, now: float) -> list[T]:
        """Take out those whose time is over."""
        found = []
        for line in (self._patient, self._hurried):
            while line and line[0][0] <= now:
                found.append(line.popleft()[1])
        return found

    @property
    def next_late(self) -> float | None:
        """When the time of the first is over of those who wait."""
        return min((line[0][0] for line in (self._patient, self._hurried) if line), default=None)
