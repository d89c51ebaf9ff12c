"""Metrics of a cluster's PDS that are read when they are scraped. Does not own what counts as it happens."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.log_kafka.pds.log import KafkaPdsLog
from ingest.pds.pds import Pds


class PdsCollector(Collector):
    """The PDS's log, and what it holds open."""

    def __init__(self, log: KafkaPdsLog, pds: Pds) -> None:
        self._log = log
        self._pds = pds

    def collect(self) -> Iterator[Metric]:
        log = self._log
        yield GaugeMetricFamily(
            "headrace_account_files_open", "Account files open now.", value=self._pds.open_account_files
        )
        yield CounterMetricFamily(
            "headrace_log_appended_entries_total", "Entries accepted into commits since the start.", value=log.appended
        )
        rejected = CounterMetricFamily(
            "headrace_log_rejected_entries_total", "Entries the verdict refused since the start.", labels=["reason"]
        )
        for reason, count in log.rejected.items():
            rejected.add_metric([reason.value], count)
        yield rejected
        yield CounterMetricFamily(
            "headrace_log_unknown_outcomes_total",
            "Transactions whose outcome had to be read back; writes were answered 503 meanwhile.",
            value=log.unknown,
        )
        yield GaugeMetricFamily(
            "headrace_log_away", "1 while the log cannot be reached and writes are refused.", value=int(log.away)
        )
        yield CounterMetricFamily(
            "headrace_log_forked_entries_total",
            "Own entries that derive refused after they were answered; alert on any.",
            value=log.rejections.count,
        )
