"""What a canary's rounds came to. Does not own the rounds (`headrace/canary.py`)."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from headrace.canary import Result, Round
from headrace.metrics.visible import BOUNDS


class CanaryMetrics:
    """`now` gives unix seconds."""

    def __init__(self, registry: CollectorRegistry, now: Callable[[], float]) -> None:
        self._now = now
        self._seconds = Histogram(
            "headrace_canary_visible_seconds",
            "From sending a post of the canary to the answer of the AppView that has it.",
            buckets=BOUNDS,
            registry=registry,
        )
        rounds = Counter(
            "headrace_canary_rounds_total",
            "Posts of the canary by how that ended.",
            ["result"],
            registry=registry,
        )
        self._rounds = {result: rounds.labels(result.value) for result in Result}
        self._shown = Gauge(
            "headrace_canary_shown_timestamp_seconds",
            "When a post of the canary was last seen, or when it began to look; seconds since 1970.",
            registry=registry,
        )
        self._shown.set(now())

    def ended(self, found: Round) -> None:
        self._rounds[found.result].inc()
        if found.result is Result.SHOWN:
            self._seconds.observe(found.seconds)
            self._shown.set(self._now())
