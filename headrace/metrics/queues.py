"""Bounded queues of a process by name: what waits in each, beside what may.

One collector for all of them, as a page of metrics has each name once. Does not own the queues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Unit = Literal["entries", "bytes"]


class _Queue(NamedTuple):
    waiting: Callable[[], int]
    limit: int


class QueuesCollector(Collector):
    """A queue may be bounded in entries, in bytes, or in both."""

    def __init__(self) -> None:
        self._queues: dict[Unit, dict[str, _Queue]] = {"entries": {}, "bytes": {}}

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def add(self, name: str, waiting: Callable[[], int], limit: int, unit: Unit = "entries") -> None:
        self._queues[unit][name] = _Queue(waiting, limit)

    def collect(self) -> Iterator[Metric]:
        for unit, queues in self._queues.items():
            if not queues:
                continue
            what = "What waits" if unit == "entries" else "Bytes that wait"
            may = "What may wait" if unit == "entries" else "Bytes that may wait"
            depth = GaugeMetricFamily(f"headrace_queue_{unit}", f"{what} in a bounded queue.", labels=["queue"])
            limits = GaugeMetricFamily(
                f"headrace_queue_limit_{unit}", f"{may} there before others wait or are refused.", labels=["queue"]
            )
            for name, (waiting, limit) in queues.items():
                depth.add_metric([name], waiting())
                limits.add_metric([name], limit)
            yield from (depth, limits)
