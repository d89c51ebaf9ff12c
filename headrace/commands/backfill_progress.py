"""What `headrace backfill` shows on stderr: a bar with an ETA on a terminal, a line now and then elsewhere.

Does not own the numbers (`ingest.relay.backfill_view`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

_EVERY = 10.0  # seconds between lines
_MEMORY = 60.0  # seconds that the rate is taken over

Views = Sequence[Mapping[str, Any]]


class Rate:
    """Accounts a second, over the last minute or so."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def at(self, now: float, done: int) -> float | None:
        """None while there is nothing to go by."""
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > _MEMORY:
            self._seen.pop(0)
        (then, before), moments = self._seen[0], now - self._seen[0][0]
        return None if moments <= 0 or done <= before or then == now else (done - before) / moments


def done_of(view: Mapping[str, Any]) -> int:
    return int(view["accounts"]) - int(view["waiting"])


def line_of(view: Mapping[str, Any], rate: float | None) -> str:
    """One backfill in words."""
    left = int(view["waiting"])
    name = view["host"] or "accounts that were named"
    total = f"{view['accounts']:,}" if view["listed"] else f"{view['accounts']:,} or more"
    failed = sum(view["failed"].values())
    words = [f"{name}: {done_of(view):,} of {total}"]
    words += [f"{what} {count:,}" for what, count in view["became"].items()]
    words += [f"failed {failed:,}"] if failed else []
    if view["state"] != "running":
        words.append(str(view["state"]))
    elif rate and left:
        words.append(f"{rate:.1f}/s, {'' if view['listed'] else 'at least '}{_span(left / rate)} left")
    return ", ".join(words)


class BackfillProgress:
    """`show` whenever there is news."""

    def __init__(self) -> None:
        console = Console(stderr=True, no_color="NO_COLOR" in os.environ)
        self._bars: Progress | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._bars = Progress(BarColumn(), TextColumn("{task.description}"), console=console)
        self._tasks: dict[int, TaskID] = {}
        self._rates: dict[int, Rate] = {}
        self._said = 0.0

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, views: Views) -> None:
        now = time.monotonic()
        over = all(view["state"] != "running" for view in views)
        speak = over or now - self._said >= _EVERY
        for view in views:
            rate = self._rates.setdefault(view["id"], Rate()).at(now, done_of(view))
            if self._bars is not None:
                self._bar(self._bars, view, line_of(view, rate))
            elif speak:
                self._said = now
                sys.stderr.write(f"headrace: {line_of(view, rate)}\n")
        sys.stderr.flush()

    def _bar(self, bars: Progress, view: Mapping[str, Any], words: str) -> None:
        if view["id"] not in self._tasks:
            self._tasks[view["id"]] = bars.add_task(words)
        total = max(1, int(view["accounts"])) if view["listed"] else None
        bars.update(self._tasks[view["id"]], completed=done_of(view), total=total, description=words)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
