"""Two results beside each other: what became faster, slower, wrong; as rows for a terminal and as one HTML file.

Does not own a result alone (`report.py`).
"""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from headrace.load.criteria import measured
from headrace.load.measures import OF_RUN
from headrace.load.plot import Line, Plot, linear, logarithmic, percentiles, table
from headrace.load.report import page
from headrace.load.result import Result

_OF_OPERATION = ("rate", "p50_ms", "p99_ms", "p99_9_ms", "errors")
_MORE_IS_BETTER = ("rate", "requests_rate", "events_rate", "checks_made")
_SAME = 0.05  # a change below this share is within what two runs differ by


class Row(NamedTuple):
    """One measure of both; `change` is a share of the first, None when it cannot be said."""

    measure: str
    first: float | None
    second: float | None
    change: float | None
    judgement: str

    def cells(self) -> list[str]:
        change = "" if self.change is None else f"{self.change:+.1%}"
        return [self.measure, _shown(self.first), _shown(self.second), change, self.judgement]


HEAD = ["measure", "A", "B", "change", ""]


def rows(first: Result, second: Result) -> list[Row]:
    """Every measure that one of them has."""
    names = sorted({each.name for result in (first, second) for each in result.operations})
    measures = [*OF_RUN, *(f"{kind}.{name}" for name in names for kind in _OF_OPERATION)]
    found = [(measure, measured(measure, first), measured(measure, second)) for measure in measures]
    return [_row(measure, a, b) for measure, a, b in found if a is not None or b is not None]


def differences(first: Result, second: Result) -> list[str]:
    """What makes the two hard to compare: another plan, seed or machine."""
    fields = ("load", "population", "readers", "writers", "players", "sessions", "faults", "seed")
    found = [
        f"the plans differ in {name}" for name in fields if getattr(first.plan, name) != getattr(second.plan, name)
    ]
    for name in ("processor", "cores", "memory"):
        a, b = first.machine.get(name), second.machine.get(name)
        if a != b:
            found.append(f"the machines differ in {name}: {a} and {b}")
    return found


def html(first: Result, second: Result) -> str:
    """The document."""
    body = [
        f"<header><h1>{escape(first.plan.name)} and {escape(second.plan.name)}</h1>",
        f'<p class="dim">A: {_name(first)}</p><p class="dim">B: {_name(second)}</p></header>',
        *(f'<p class="bad">{escape(each)}</p>' for each in differences(first, second)),
        f"<section><h2>Measures</h2>{table(HEAD, [row.cells() for row in rows(first, second)])}</section>",
        "<section><h2>Latency by percentile</h2>",
        *(_curves(name, first, second) for name in sorted({each.name for each in first.operations})),
        "</section><section><h2>99th percentile by second</h2>",
        *(_seconds(name, first, second) for name in sorted({each.name for each in first.operations})),
        "</section>",
    ]
    return page(f"{first.plan.name}: two runs compared", body)


def _row(measure: str, a: float | None, b: float | None) -> Row:
    if a is None or b is None:
        return Row(measure, a, b, None, "only in one")
    change = (b - a) / abs(a) if a else (0.0 if a == b else None)
    if change is not None and abs(change) < _SAME:
        return Row(measure, a, b, change, "")
    better = (b > a) == (measure.partition(".")[0] in _MORE_IS_BETTER)
    return Row(measure, a, b, change, "better" if better else "worse")


def _name(result: Result) -> str:
    said = " ".join(f"{name} {value}" for name, value in result.versions.items())
    return escape(f"{result.begun}, {said}, {'passed' if result.passed else 'failed'}")


def _curves(name: str, first: Result, second: Result) -> str:
    lines = [
        Line(side, each.curve)
        for side, result in (("A", first), ("B", second))
        for each in result.operations
        if each.name == name and len(each.curve) > 1
    ]
    values = [y for line in lines for _, y in line.points]
    if not values:
        return ""
    x = percentiles(max(line.points[-2][0] for line in lines))
    return Plot(name, lines, x, logarithmic(max(min(values), 0.01), max(values)), "percentile", "ms").html()


def _seconds(name: str, first: Result, second: Result) -> str:
    lines = [
        Line(side, [(point.second, point.ms[2]) for point in each.points if point.ms], 3)
        for side, result in (("A", first), ("B", second))
        for each in result.operations
        if each.name == name
    ]
    values = [y for line in lines for _, y in line.points]
    if not values:
        return ""
    x = linear(0.0, max(first.seconds, second.seconds), count=8)
    return Plot(name, lines, x, logarithmic(max(min(values), 0.01), max(values)), "seconds", "ms").html()


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
