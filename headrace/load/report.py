"""A result as one HTML file that needs nothing else: verdicts, numbers, plots, the machine, the plan.

Does not own the drawing (`plot.py`) nor the style (`report_style.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import msgspec

from headrace.load.plot import Line, Plot, linear, logarithmic, percentiles, table
from headrace.load.report_style import STYLE
from headrace.load.result import Operation, Result

_MEGA = 1e6
_PERCENTS = ("50 %", "90 %", "99 %", "99.9 %")


def page(title: str, body: Iterable[str]) -> str:
    """A whole document."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def report(result: Result) -> str:
    """The document. Deterministic: the same result gives the same bytes."""
    parts = [_head(result), _verdicts(result), _events(result), _operations(result), *_plots(result)]
    return page(f"Load report: {result.plan.name}", [*parts, _checks(result), _generator(result), _facts(result)])


def _head(result: Result) -> str:
    plan = result.plan
    answers = sum(each.rate for each in result.operations)
    errors = sum(each.errors for each in result.operations)
    worst = max((each.latency.p99 for each in result.operations), default=0.0)
    facts = [
        (f"{answers:,.0f}", "answers a second"),
        (f"{worst:,.1f} ms", "highest 99th percentile"),
        (f"{errors:,}", "errors"),
        (f"{sum(each.dropped for each in result.operations):,}", "dropped arrivals"),
        (f"{sum(result.checks.made.values()):,}", f"checks, {sum(result.checks.failed.values())} wrong"),
    ]
    facts += [
        (f"{player.accepted / player.seconds:,.0f}", f"frames a second of {player.name}")
        for player in result.players
        if player.seconds
    ]
    cards = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in facts)
    said = ("good", "PASSED") if result.passed else ("bad", "FAILED")
    form = ", short form" if result.short else ""
    return (
        f"<header><h1>Load report: {escape(plan.name)}</h1><p>{escape(plan.about)}</p>"
        f'<p class="dim">{escape(result.begun)}, {result.seconds:g} s of load{form}, seed {plan.seed}, '
        f"judged from second {plan.judged_from:g}</p>"
        f'<div class="verdict {said[0]}" role="status">{said[1]}</div><div class="facts">{cards}</div></header>'
    )


def _verdicts(result: Result) -> str:
    rows = [
        [
            verdict.measure,
            verdict.wanted,
            "nothing measured" if verdict.found is None else f"{verdict.found:,.6g}",
            "pass" if verdict.passed else "FAIL",
        ]
        for verdict in result.verdicts
    ]
    return f"<section><h2>Criteria</h2>{table(['measure', 'wanted', 'found', 'verdict'], rows)}</section>"


def _events(result: Result) -> str:
    if not result.events and not result.notes:
        return ""
    rows = [[f"{each.at:.1f} s", each.what, "plan" if each.planned else "by itself"] for each in result.events]
    notes = "".join(f"<p>{escape(note)}</p>" for note in result.notes)
    return f"<section><h2>What happened</h2>{table(['at', 'what', 'why'], rows, words=(1,))}{notes}</section>"


def _operations(result: Result) -> str:
    rows = [
        [
            each.name,
            f"{each.rate:,.1f}",
            *(f"{value:,.2f}" for value in _latencies(each)),
            f"{each.errors:,}",
            f"{each.dropped:,}",
        ]
        for each in result.operations
    ]
    head = ["operation", "answers/s", *(f"{each} ms" for each in _PERCENTS), "longest ms", "errors", "dropped"]
    return (
        "<section><h2>Operations</h2><p>Latency counts from when a request was due, whether or not it could be sent "
        f"then.</p>{table(head, rows)}</section>"
    )


def _latencies(each: Operation) -> list[float]:
    found = each.latency
    return [found.p50, found.p90, found.p99, found.p99_9, found.max]


def _plots(result: Result) -> list[str]:
    found = [
        ("Rates", [_over_time(result, "Answers a second", "answers/s", _rates(result), log=False)]),
        (
            "Latency",
            [
                _over_time(result, "Median by second", "ms", _by_second(result, 0), log=True),
                _over_time(result, "99th percentile by second", "ms", _by_second(result, 2), log=True),
                _curves(result),
            ],
        ),
        (
            "Lag and freshness",
            [
                _over_time(
                    result,
                    "Entries the views are behind the log",
                    "entries",
                    [Line("entries behind", [(lag.at, lag.behind) for lag in result.lags], 5)],
                    log=False,
                ),
                _over_time(
                    result,
                    "Age of the newest entry the views have seen, while they are behind",
                    "seconds",
                    [Line("freshness", [(lag.at, lag.seconds) for lag in result.lags], 5)],
                    log=False,
                ),
            ],
        ),
        ("Errors by kind", [_over_time(result, "Errors and dropped arrivals", "a second", _errors(result), log=False)]),
        (
            "Processes",
            [
                _over_time(result, "CPU (1 is one core)", "cores", _samples(result, "cpu", 1), log=False),
                _over_time(result, "Resident memory", "MB", _samples(result, "rss", _MEGA), log=False),
                _over_time(result, "Open descriptors", "files", _samples(result, "fds", 1), log=False),
            ],
        ),
    ]
    return [f"<section><h2>{name}</h2>{''.join(plots) or _NOTHING}</section>" for name, plots in found if any(plots)]


_NOTHING = '<p class="dim">Nothing to show.</p>'


def _rates(result: Result) -> list[Line]:
    return [Line(each.name, [(point.second, point.answers) for point in each.points]) for each in result.operations]


def _by_second(result: Result, index: int) -> list[Line]:
    return [
        Line(each.name, [(point.second, point.ms[index]) for point in each.points if point.ms], 3)
        for each in result.operations
    ]


def _errors(result: Result) -> list[Line]:
    kinds = sorted({kind for each in result.errors for kind in each.kinds})
    return [Line(kind, [(each.second, each.kinds.get(kind, 0)) for each in result.errors], 2) for kind in kinds]


def _samples(result: Result, name: str, scale: float) -> list[Line]:
    return [
        Line(process.name, [(each.at, round(getattr(each, name) / scale, 3)) for each in process.samples], 5)
        for process in result.processes
    ]


def _over_time(result: Result, title: str, unit: str, lines: list[Line], *, log: bool) -> str:
    values = [y for line in lines for _, y in line.points]
    if not values:
        return ""
    end = max([result.seconds, *(x for line in lines for x, _ in line.points)])
    y = logarithmic(max(min(values), 0.01), max(values)) if log else linear(0.0, max(values) * 1.05)
    marks = [(event.at, event.what) for event in result.events]
    early = result.plan.judged_from
    return Plot(title, lines, linear(0.0, end, count=8), y, "seconds", unit, marks, early).html()


def _curves(result: Result) -> str:
    lines = [Line(each.name, each.curve) for each in result.operations if len(each.curve) > 1]
    if not lines:
        return ""
    values = [y for line in lines for _, y in line.points]
    highest = max(line.points[-2][0] for line in lines)
    y = logarithmic(max(min(values), 0.01), max(values))
    return Plot("Latency by percentile", lines, percentiles(highest), y, "percentile", "ms").html()


def _checks(result: Result) -> str:
    made = result.checks.made
    if not made:
        return ""
    rows = [[name, f"{count:,}", f"{result.checks.failed.get(name, 0):,}"] for name, count in sorted(made.items())]
    details = "".join(f"<li>{escape(each)}</li>" for each in result.checks.details)
    listed = f"<ul>{details}</ul>" if details else ""
    return f"<section><h2>Were the answers right?</h2>{table(['check', 'made', 'wrong'], rows)}{listed}</section>"


def _generator(result: Result) -> str:
    late = result.lateness
    rows = [[f"{each:,.2f}" for each in (late.p50, late.p90, late.p99, late.p99_9, late.max)]]
    kinds = [
        [each.name, kind, f"{count:,}"] for each in result.operations for kind, count in sorted(each.kinds.items())
    ]
    errors = f"<h2>Errors of the whole load</h2>{table(['operation', 'kind', 'count'], kinds)}" if kinds else ""
    head = [f"{each} ms" for each in (*_PERCENTS, "longest")]
    return (
        f"<section>{errors}<h2>The generator's own error</h2><p>How long after it was due a request was sent. It is "
        f"part of the latencies above.</p>{table(head, rows)}</section>"
    )


def _facts(result: Result) -> str:
    rows = [[name, value] for name, value in (*result.machine.items(), *result.versions.items())]
    rows += [["target", result.target], *([f"set up: {name}", f"{value:g}"] for name, value in result.set_up.items())]
    if result.settled_seconds is not None:
        rows.append(["views had seen everything after", f"{result.settled_seconds:g} s"])
    players = [
        [each.name, f"{each.sent:,}", f"{each.accepted:,}", f"{each.refused:,}", f"{each.seconds:g}", each.error]
        for each in result.players
    ]
    head = ["player", "sent", "accepted", "refused", "seconds", "error"]
    played = table(head, players, words=(5,)) if players else ""
    plan = msgspec.json.format(msgspec.json.encode(result.plan), indent=2).decode()
    return (
        f"<section><h2>Machine, versions, plan</h2>{table(['', ''], rows, words=(1,))}{played}"
        f"<details><summary>The plan as it was run</summary><pre>{escape(plan)}</pre></details></section>"
    )
