"""When a player's frames are due: at a rate that may rise, come in bursts and pause; in recorded time; or all at once.

Pure. Seconds are counted from when the player begins. Does not own who sends them (`players.py`, `upstream.py`) nor how
an archive is served outside of plans (`pace.py`).
"""

from __future__ import annotations

from math import ceil, floor, inf

from headrace.load.plan import Bursts, Players

_SECOND = 1e6  # recorded times are microseconds
_NEVER = 1e9  # seconds


class Tempo:
    """Of one player; `first` is the recorded time of its first frame, unix microseconds."""

    def __init__(self, players: Players, first: int = 0) -> None:
        self._players, self._first = players, first

    def due(self, seconds: float) -> float:
        """Frames that are due by then, of those at a rate. Infinite when it has none (`is_due` says of which)."""
        found = self._players
        if not found.rate:
            return inf
        if seconds <= 0:
            return 0.0
        worth = self._lasting(0.0, seconds)
        if found.bursts is not None:
            worth += (found.bursts.times - 1.0) * self._in_bursts(found.bursts, seconds)
        return found.rate * worth

    def when(self, number: int, at: int) -> float:
        """When a frame is due, from its number (0, 1, ...) and its recorded time: `number` frames are before it."""
        found = self._players
        if found.times:
            return max(0.0, (at - self._first) / _SECOND / found.times)
        if not found.rate:
            return 0.0
        if not found.ramp and found.bursts is None:
            return number / found.rate
        step = 1.0
        low, high = 0.0, step
        while self.due(high) < number:
            step *= 2
            low, high = high, high + step
            if high > _NEVER:
                return inf  # all is pause
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (middle, high) if self.due(middle) < number else (low, middle)
        return high

    def frames(self, seconds: float) -> int:
        """How many a synthetic network needs that is to be played for so long at a rate."""
        return ceil(self.due(seconds))

    def _in_bursts(self, bursts: Bursts, seconds: float) -> float:
        """What the stretches in bursts are worth, up to then: those of the ramp one by one, all others are alike."""
        rising = max(0, ceil((self._players.ramp - bursts.first) / bursts.every))
        worth = 0.0
        for number in range(rising):
            start = bursts.first + number * bursts.every
            if start < seconds:
                worth += self._lasting(start, min(seconds, start + bursts.seconds))
        after = seconds - bursts.first - rising * bursts.every
        if after > 0:
            whole = floor(after / bursts.every)
            worth += whole * bursts.seconds + min(after - whole * bursts.every, bursts.seconds)
        return worth

    def _lasting(self, start: float, end: float) -> float:
        """Seconds at the full rate that a stretch is worth: those of the ramp count for what the rate is in them."""
        ramp = self._players.ramp
        if not ramp:
            return max(0.0, end - start)
        rising = max(0.0, min(end, ramp) ** 2 - min(start, ramp) ** 2) / (2 * ramp)
        return rising + max(0.0, end - max(start, ramp))
