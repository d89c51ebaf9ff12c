"""How long each write took until readers could see it: from its log time to the commit of the views that holds it.

Of the generation that is read: one that is built beside it shows nobody anything. Counts a batch at once, since a
metric's own counting of each entry would cost as much as a tenth of what the views do with it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from processors.run_embedded import EmbeddedRunner

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)  # seconds


class VisibleCollector(Collector):
    """`follow` the runner that readers read from, and again when another one takes its place."""

    def __init__(self, now: Callable[[], int]) -> None:
        """`now` gives unix microseconds, of the clock that the log's times are of."""
        self._now = now
        self._counts = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._followed: EmbeddedRunner | None = None

    def follow(self, runner: EmbeddedRunner) -> None:
        if self._followed is not None:
            self._followed.on_visible = None
        self._followed = runner
        runner.on_visible = self.seen

    def seen(self, times: list[int]) -> None:
        """Entries of these log times are visible from now on. HOT."""
        now = self._now()
        # A clock that was set back makes nothing visible before it was written.
        ages = sorted(max(0, now - time) / 1e6 for time in times)
        below = 0
        for place, bound in enumerate(BOUNDS):
            upto = bisect_right(ages, bound)
            self._counts[place] += upto - below
            below = upto
        self._counts[-1] += len(ages) - below
        self._seconds += sum(ages)

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
            sum_value=self._seconds,
        )
