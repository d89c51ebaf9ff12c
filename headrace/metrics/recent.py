"""Metrics of the rows that an AppView keeps for a moment, read when they are scraped. Labels are tables: bounded."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from views.recent_rows import Tally
from views.store_recent import PLAN, RecentStore


class RecentRowsCollector(Collector):
    """Counts go on from one generation's store to the next; `of` says which is read now."""

    def __init__(self) -> None:
        self.tallies = {table.name: Tally() for table in PLAN}
        self._store: RecentStore | None = None

    def of(self, store: RecentStore) -> RecentStore:
        self._store = store
        return store

    def collect(self) -> Iterator[Metric]:
        asked = CounterMetricFamily(
            "headrace_recent_rows_lookups_total",
            "Keys, or whole partitions, that an AppView's requests asked for: kept from a moment ago (hit), read for"
            " another request at that moment (joined), or read (miss).",
            labels=["table", "outcome"],
        )
        evicted = CounterMetricFamily(
            "headrace_recent_rows_evicted_total",
            "What was put out for room before its time.",
            labels=["table"],
        )
        for table, tally in self.tallies.items():
            for outcome, count in (("hit", tally.hits), ("joined", tally.joined), ("miss", tally.misses)):
                asked.add_metric([table, outcome], count)
            evicted.add_metric([table], tally.evicted)
        kept = GaugeMetricFamily("headrace_recent_rows_bytes", "Bytes of rows kept, about.", labels=["table"])
        for table, size in (
            self._store.kept_bytes if self._store is not None else dict.fromkeys(self.tallies, 0)
        ).items():
            kept.add_metric([table], size)
        yield from (asked, evicted, kept)
