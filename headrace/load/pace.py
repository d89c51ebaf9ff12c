"""When events of a played archive are due.

Does not own playing (`serve_archive.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from headrace.load.archive.reader import Archive

Pace = Callable[[int, int], float]
"""When an event is due, in seconds after the start: from its number (0, 1, ...) and its recorded time (unix us)."""


def recorded(archive: Archive, times: float) -> Pace:
    """`times` times the speed at which it was received."""
    first = next((item.time for item in archive.items()), 0)
    return lambda _, at: (at - first) / 1e6 / times


def steady(rate: float) -> Pace:
    """So many events a second."""
    return lambda number, _: number / rate


def flat_out(_number: int, _time: int) -> float:
    """As fast as subscribers read."""
    return 0.0
