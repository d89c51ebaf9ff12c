"""Whether a run passed: each criterion of its plan, and what every run must hold.

Does not own the measures' names (`measures.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.load.plan import Criterion
from headrace.load.result import Latency, Operation, Process, Result, Verdict

_HOUR = 3600.0
# Whatever the plan says: a target that dies by itself, or a check that fails, is no pass.
ALWAYS = (Criterion("unplanned_deaths", at_most=0), Criterion("checks_failed", at_most=0))


def verdicts(result: Result) -> list[Verdict]:
    """One for each criterion, in the plan's order, then what always holds unless the plan says otherwise."""
    asked = result.plan.criteria
    named = {each.measure for each in asked}
    return [_verdict(each, result) for each in (*asked, *(each for each in ALWAYS if each.measure not in named))]


def measured(measure: str, result: Result) -> float | None:
    """A measure of the judged time; None when nothing was measured."""
    kind, _, name = measure.partition(".")
    if name:
        found = next((each for each in result.operations if each.name == name), None)
        return None if found is None else _of_operation(kind, found)
    answers = sum(each.answers for each in result.operations)
    errors = sum(each.errors for each in result.operations)
    dropped = sum(each.dropped for each in result.operations)
    values: dict[str, float | None] = {
        "requests_rate": answers / result.judged_seconds,
        "events_rate": _events(result),
        "errors": _share(errors, answers + errors),
        "dropped": _share(dropped, answers + errors + dropped),
        "checks_failed": float(sum(result.checks.failed.values())),
        "checks_made": float(sum(result.checks.made.values())),
        "lateness_p99_ms": result.lateness.p99,
        "unplanned_deaths": float(sum(not event.planned for event in result.events)),
        "settled_seconds": result.settled_seconds,
    }
    return values[measure] if measure in values else _of_samples(measure, result)


def slope(points: Iterable[tuple[float, float]]) -> float | None:
    """Least squares, a second; None of fewer than three points."""
    found = list(points)
    if len(found) < 3:
        return None
    x, y = sum(each[0] for each in found) / len(found), sum(each[1] for each in found) / len(found)
    spread = sum((each[0] - x) ** 2 for each in found)
    return sum((each[0] - x) * (each[1] - y) for each in found) / spread if spread else None


def _verdict(criterion: Criterion, result: Result) -> Verdict:
    found = measured(criterion.measure, result)
    at_most, at_least = criterion.at_most, criterion.at_least
    wanted = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"
    passed = found is not None and (at_most is None or found <= at_most) and (at_least is None or found >= at_least)
    return Verdict(criterion.measure, wanted, None if found is None else round(found, 6), passed)


def _of_operation(kind: str, found: Operation) -> float | None:
    if kind == "rate":
        return found.rate
    if kind == "errors":
        return _share(found.errors, found.answers + found.errors)
    if not found.answers:
        return None
    fields = {"p50_ms": "p50", "p90_ms": "p90", "p99_ms": "p99", "p99_9_ms": "p99_9", "max_ms": "max"}
    latency: Latency = found.latency
    return float(getattr(latency, fields[kind]))


def _events(result: Result) -> float:
    """Records written and frames played in."""
    batches = {name: writers.batch for name, writers in result.plan.writers.items() if writers.batch > 1}
    size = next(iter(batches.values()), 1)
    rates = {each.name: each.rate for each in result.operations}
    written = sum(rates.get(name, 0.0) for name in ("createRecord", "deleteRecord", "createAccount"))
    played = sum(each.accepted / each.seconds for each in result.players if each.seconds)
    return written + rates.get("applyWrites", 0.0) * size + played


def _of_samples(measure: str, result: Result) -> float | None:
    first = result.plan.judged_from
    lags = [lag for lag in result.lags if lag.at >= first]
    processes = [each for each in result.processes if not each.name.startswith("client ")]
    if measure == "freshness_seconds":
        return max((lag.seconds for lag in lags), default=None)
    if measure == "behind_entries":
        return max((lag.behind for lag in lags), default=None)
    if measure == "memory_mb":
        return max((each.rss / 1e6 for process in processes for each in process.samples), default=None)
    if measure == "behind_slope_per_hour":
        return _hourly(slope((lag.at, lag.behind) for lag in lags))
    field = "rss" if measure == "memory_slope_mb_per_hour" else "fds"
    scale = 1e-6 if field == "rss" else 1.0
    return _hourly(_steepest(processes, field, first, scale))


def _steepest(processes: list[Process], field: str, first: float, scale: float) -> float | None:
    slopes = [
        slope((each.at, getattr(each, field) * scale) for each in process.samples if each.at >= first)
        for process in processes
    ]
    return max((each for each in slopes if each is not None), default=None)


def _hourly(found: float | None) -> float | None:
    return None if found is None else found * _HOUR


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
