"""Metrics of a cluster's relay that are read when they are scraped: what it appended, and what derive made of it.

Does not own what counts as it happens (`ingest.log_kafka.relay.log`).
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.log_kafka.relay.log import KafkaRelayLog


class RelayLogCollector(Collector):
    def __init__(self, log: KafkaRelayLog) -> None:
        self._log = log

    def collect(self) -> Iterator[Metric]:
        log = self._log
        yield CounterMetricFamily(
            "headrace_log_appended_entries_total", "Entries accepted into commits since the start.", value=log.appended
        )
        rejected = CounterMetricFamily(
            "headrace_log_rejected_entries_total", "Entries the verdict refused since the start.", labels=["reason"]
        )
        for reason, count in log.rejected.items():
            rejected.add_metric([reason.value], count)
        yield rejected
        yield GaugeMetricFamily(
            "headrace_relay_undecided_entries",
            "Entries of a cluster's relay that derive has not judged yet; at its bound the relay waits for derive.",
            value=log.undecided,
        )
        yield CounterMetricFamily(
            "headrace_relay_refused_accounts_total",
            "Times that derive refused entries of a cluster's relay and left the account below them: it is caught up"
            " with.",
            value=log.refused,
        )
        yield CounterMetricFamily(
            "headrace_relay_repeated_entries_total",
            "Entries of a cluster's relay sent anew, as nobody could tell whether they were in the log.",
            value=log.repeated,
        )
