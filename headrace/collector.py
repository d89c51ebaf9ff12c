"""When cycles are collected: hardly ever by count, and whenever the process has grown.

What is alive when a process begins to serve lives on, and requests and entries make next to no cycles: fewer
collections take a tenth off a write's CPU and halve its p99 (`make bench`, create_record_c32). Counts do not see bytes,
though: a few cycles that libraries leave, each with megabytes of what a broker has sent, would stay for hours.
Does not own what is allocated.
"""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import Final, NoReturn

_COLLECT: Final = (100_000, 50, 100)  # net allocations of containers, then generations
GROWTH: Final = 64 << 20  # bytes; what cycles may hold at most, or an eighth of the process if that is more
LOOK: Final = 5.0  # seconds
_STATM: Final = Path("/proc/self/statm")
_SELDOM: Final = 120  # looks, where no size can be told (no Linux)


def calm() -> None:
    """Leave alone what there is, and count less eagerly. Call it once, when the process is about to serve."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)


def resident() -> int | None:
    """Bytes that this process has in memory; None where the system does not say."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


class Growth:
    """Looks at the process's size, and collects when it has grown by `GROWTH` or an eighth since the last time.

    A collection walks all that was made since the start: with growth as the measure its cost stays in proportion.
    """

    def __init__(self) -> None:
        self._floor = resident()
        self._looks = 0

    def look(self) -> bool:
        """Whether it has collected."""
        size = resident()
        if size is None or self._floor is None:
            self._looks = (self._looks + 1) % _SELDOM
            due = self._looks == 0
        else:
            self._floor = min(self._floor, size)
            due = size - self._floor >= max(GROWTH, self._floor // 8)
        if due:
            gc.collect()
            self._floor = resident()
        return due


async def keep() -> NoReturn:
    """Look every `LOOK` seconds, until cancelled."""
    growth = Growth()
    while True:
        await asyncio.sleep(LOOK)
        growth.look()
