"""Metrics of generations, read when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from processors.rebuild.embedded import EmbeddedGenerations


class GenerationsCollector(Collector):
    """Labels are generations: at most three at once."""

    def __init__(self, generations: EmbeddedGenerations) -> None:
        self._generations = generations

    def collect(self) -> Iterator[Metric]:
        behind = GaugeMetricFamily(
            "headrace_generation_behind_entries", "Entries that a generation has not seen yet.", labels=["generation"]
        )
        live = GaugeMetricFamily(
            "headrace_generation_live", "1 for the generation that is read.", labels=["generation"]
        )
        stopped = GaugeMetricFamily(
            "headrace_generation_stopped",
            "1 for a generation that no longer follows the log: it can only be dropped, or mended and started again.",
            labels=["generation"],
        )
        for name, entries, fault in self._generations.standings():
            if entries is not None:
                behind.add_metric([name], entries)
            live.add_metric([name], name == self._generations.live_name)
            stopped.add_metric([name], fault is not None)
        yield from (behind, live, stopped)
