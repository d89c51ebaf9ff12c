"""How long each write took until readers could see it: from its log time to the commit of the views that holds it.

Of the generation that is read: one that is built beside it shows nobody anything. Counts a batch at once, since a
metric's own counting of each entry would cost more than a percent of what the views do with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from processors.run_embedded import EmbeddedRunner

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)  # seconds
_MICROS = tuple(round(bound * 1e6) for bound in BOUNDS)


class VisibleCollector(Collector):
    """`follow` the runner that readers read from, and again when another one takes its place."""

    def __init__(self, now: Callable[[], int]) -> None:
        """`now` gives unix microseconds, of the clock that the log's times are of."""
        self._now = now
        self._counts = [0] * (len(BOUNDS) + 1)
        self._micros = 0
        self._followed: EmbeddedRunner | None = None

    def follow(self, runner: EmbeddedRunner) -> None:
        if self._followed is not None:
            self._followed.on_visible = None
        self._followed = runner
        runner.on_visible = self.seen

    def seen(self, times: list[int]) -> None:
        """Entries of these log times (sorted here) are visible from now on. HOT."""
        now = self._now()
        times.sort()  # nearly so already
        if times[-1] > now:  # a clock that was set back makes nothing visible before it was written
            times = [min(time, now) for time in times]
        below = 0
        for place, bound in enumerate(_MICROS):
            upto = len(times) - bisect_left(times, now - bound)
            self._counts[place] += upto - below
            below = upto
        self._counts[-1] += len(times) - below
        self._micros += len(times) * now - sum(times)

    def collect(self) -> Iterator[Metric]:
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            "headrace_write_to_visible_seconds",
            "From the log time of a write until readers see it, of the generation that is read.",
            buckets=buckets,
            sum_value=self._micros / 1e6,
        )
