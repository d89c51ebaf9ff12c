"""Puts together what client processes say: by second while it is young, then percentiles of it; histograms of it all.

Does not own how it is said (`messages.py`) nor what is made of it (`criteria.py`, `report.py`).
"""

from __future__ import annotations

from array import array
from collections import Counter

from hdrh.histogram import HdrHistogram

from headrace.load.messages import LATENESS, Cell, Checked
from headrace.load.result import Errors, Latency, Operation, Point

LOWEST, HIGHEST, DIGITS = 1, 600_000_000, 3  # microseconds
_DETAILS = 50
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Series:
    """Of one run. Seconds younger than `open_for` may still grow; older ones keep their percentiles alone."""

    def __init__(self, judged_from: float, open_for: float) -> None:
        self._judged_from, self._open_for = judged_from, open_for
        self._young: dict[tuple[int, str], array[int]] = {}
        self._points: dict[tuple[int, str], Point] = {}
        self.histograms: dict[str, HdrHistogram] = {}
        self.judged: dict[str, HdrHistogram] = {}
        self.errors: dict[str, Counter[str]] = {}
        self.judged_errors: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.judged_dropped: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.details: list[str] = []
        self._by_second: dict[int, Counter[str]] = {}

    def take(self, cell: Cell) -> None:
        """Add what became of one second's requests of one operation."""
        key, judged = (cell.second, cell.operation), cell.second >= self._judged_from
        latencies = cell.micros()
        for kept in (self.histograms, self.judged) if judged else (self.histograms,):
            histogram = kept.get(cell.operation)
            if histogram is None:
                histogram = kept[cell.operation] = HdrHistogram(LOWEST, HIGHEST, DIGITS)
            for value, count in Counter(latencies).items():
                histogram.record_value(min(max(value, LOWEST), HIGHEST), count)
        self._young.setdefault(key, array("I")).extend(latencies)
        if cell.errors:
            self.errors.setdefault(cell.operation, Counter()).update(cell.errors)
            self._by_second.setdefault(cell.second, Counter()).update(cell.errors)
        if cell.dropped:
            self.dropped[cell.operation] += cell.dropped
            self._by_second.setdefault(cell.second, Counter())["dropped"] += cell.dropped
        if judged:
            self.judged_errors[cell.operation] += sum(cell.errors.values())
            self.judged_dropped[cell.operation] += cell.dropped

    def check(self, checked: Checked) -> None:
        """Add what was looked at."""
        self.made.update(checked.made)
        self.failed.update(checked.failed)
        self.details += checked.details[: max(0, _DETAILS - len(self.details))]

    def close(self, now: float) -> None:
        """Keep no more than percentiles of the seconds before now minus `open_for`."""
        for key in [key for key in self._young if key[0] < now - self._open_for]:
            self._points[key] = _point(key[0], self._young.pop(key))

    def now(self, second: int) -> dict[str, tuple[int, float, float]]:
        """Of each operation in one young second: answers, median and 99th percentile in milliseconds."""
        found = {}
        for (at, operation), latencies in self._young.items():
            if at == second and operation != LATENESS and latencies:
                point = _point(at, latencies)
                found[operation] = (point.answers, point.ms[0], point.ms[2])
        return found

    def operations(self, judged_seconds: float) -> list[Operation]:
        """Everything, when the run is over."""
        self.close(float("inf"))
        names = sorted({*self.histograms, *self.errors, *self.dropped} - {LATENESS})
        return [self._operation(name, judged_seconds) for name in names]

    def lateness(self) -> Latency:
        """The generator's own: sent, after due."""
        return latency(self.judged.get(LATENESS))

    def errors_by_second(self) -> list[Errors]:
        return [Errors(second, dict(kinds)) for second, kinds in sorted(self._by_second.items())]

    def _operation(self, name: str, judged_seconds: float) -> Operation:
        judged = self.judged.get(name)
        answers = 0 if judged is None else int(judged.get_total_count())
        return Operation(
            name=name,
            answers=answers,
            rate=answers / judged_seconds,
            errors=self.judged_errors[name],
            dropped=self.judged_dropped[name],
            kinds=dict(self.errors.get(name, {})),
            latency=latency(judged),
            curve=_curve(judged),
            points=[point for (_, each), point in sorted(self._points.items()) if each == name],
        )


def latency(histogram: HdrHistogram | None) -> Latency:
    """Milliseconds of a histogram of microseconds; zeros of an empty one."""
    if histogram is None or histogram.get_total_count() == 0:
        return Latency(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    p50, p90, p99, p99_9 = (histogram.get_value_at_percentile(each) / 1000 for each in PERCENTILES)
    mean, longest = histogram.get_mean_value() / 1000, histogram.get_max_value() / 1000
    return Latency(p50, p90, p99, p99_9, longest, round(mean, 3))


def _curve(histogram: HdrHistogram | None) -> list[tuple[float, float]]:
    """(percentile, milliseconds) at 1 - 10**-n and between, as far as the count bears."""
    if histogram is None or histogram.get_total_count() == 0:
        return []
    total, found = histogram.get_total_count(), []
    for step in range(61):
        share = 1 - 10 ** (-step / 10)
        if step and (1 - share) * total < 1:
            break
        found.append((round(share * 100, 6), histogram.get_value_at_percentile(share * 100) / 1000))
    return [*found, (100.0, histogram.get_max_value() / 1000)]


def _point(second: int, latencies: array[int]) -> Point:
    ordered = sorted(latencies)
    count = len(ordered)

    def at(percent: float) -> float:
        return ordered[min(count - 1, int(percent / 100 * count))] / 1000

    return Point(second, count, [at(each) for each in PERCENTILES] if count else [])
