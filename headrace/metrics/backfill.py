"""Metrics of backfills, read when they are scraped. Labels are what became of accounts: bounded.

Does not own what counts as it happens (`ingest.relay.backfill`).
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.relay.backfill import Backfill
from ingest.relay.backfill_account import OUTCOMES


class BackfillCollector(Collector):
    def __init__(self, backfills: Backfill) -> None:
        self._backfills = backfills

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "headrace_relay_backfill_waiting_accounts",
            "Accounts that backfills know and have not done.",
            self._backfills.waiting,
        )
        done = CounterMetricFamily(
            "headrace_relay_backfill_accounts_total",
            "Accounts that backfills have done since the start, by what became of them.",
            labels=["became"],
        )
        failed = CounterMetricFamily(
            "headrace_relay_backfill_failed_accounts_total",
            "Accounts that backfills could not have, after the last try.",
            labels=["reason"],
        )
        for became, count in self._backfills.became.items():
            (done if became in OUTCOMES else failed).add_metric([became], count)
        yield done
        yield failed
