"""Metrics of backfills, read when they are scraped. Labels are what became of accounts: bounded.

Does not own what counts as it happens (`ingest.relay.backfill`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.relay.backfill import Backfill


class BackfillCollector(Collector):
    def __init__(self, backfills: Backfill) -> None:
        self._backfills = backfills

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "headrace_relay_backfill_waiting_accounts",
            "Accounts that backfills know and have not done.",
            self._backfills.waiting,
        )
        became: Counter[str] = self._backfills.became
        done = CounterMetricFamily(
            "headrace_relay_backfill_accounts_total",
            "Accounts that backfills have done since the start: fetched, in the log already, not active; or why not.",
            labels=["outcome"],
        )
        for outcome, count in became.items():
            done.add_metric([outcome], count)
        yield done
