"""What a run shows while it goes on: a table that stays in place on a terminal, a line now and then elsewhere.

Does not own the numbers (`series.py`, `sampling.py`).
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from headrace.load.result import Sample

_EVERY = 10  # seconds between lines


class State(NamedTuple):
    """One second of a run. `operations` are answers, median and 99th percentile in milliseconds, by name."""

    second: int
    of: float
    operations: dict[str, tuple[int, float, float]]
    errors: int
    dropped: int
    checks: tuple[int, int]
    behind: float | None
    processes: dict[str, Sample]
    last_event: str


class Progress:
    """On stderr, so that stdout stays data."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._console = Console(stderr=True, no_color="NO_COLOR" in os.environ)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, line: str) -> None:
        """One line that stays."""
        if self._live is not None:
            self._live.console.out(line, highlight=False)
        else:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def show(self, state: State) -> None:
        if self._live is not None:
            self._live.update(self._table(state))
        elif state.second % _EVERY == 0:
            self.say(_line(state))

    def _table(self, state: State) -> Table:
        share = min(1.0, state.second / state.of) if state.of else 1.0
        bar = "█" * int(share * 30) + "░" * (30 - int(share * 30))
        table = Table(title=f"{self._name}  {bar}  {state.second} of {state.of:.0f} s", title_justify="left")
        for column in ("", "rate/s", "p50 ms", "p99 ms"):
            table.add_column(column, justify="left" if not column else "right")
        for name, (count, p50, p99) in sorted(state.operations.items()):
            table.add_row(name, f"{count:,}", f"{p50:.1f}", f"{p99:.1f}")
        table.add_section()
        for name, sample in state.processes.items():
            table.add_row(name, f"{sample.cpu:.0%} CPU", f"{sample.rss / 1e6:.0f} MB", f"{sample.fds} files")
        made, failed = state.checks
        behind = "not known" if state.behind is None else f"{state.behind:.0f}"
        table.caption = (
            f"errors {state.errors}   dropped {state.dropped}   checks {made}, wrong {failed}   behind {behind}"
            + (f"\n{state.last_event}" if state.last_event else "")
        )
        return table


def _line(state: State) -> str:
    rate = sum(count for count, _, _ in state.operations.values())
    slowest = max((p99 for _, _, p99 in state.operations.values()), default=0.0)
    behind = "" if state.behind is None else f", behind {state.behind:.0f}"
    cpu = ", ".join(f"{name} {sample.cpu:.0%}" for name, sample in state.processes.items())
    return (
        f"{state.second:5d} s  {rate:,} answers/s, p99 up to {slowest:.0f} ms, errors {state.errors}, "
        f"dropped {state.dropped}, wrong {state.checks[1]} of {state.checks[0]}{behind}  [{cpu}]"
    )
