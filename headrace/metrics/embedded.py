"""Metrics that are read when they are scraped: the log's ends, the views' lag and freshness.

Does not own what counts as it happens (`api/metrics.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.identity.resolver import IdentityResolver
from ingest.log_sqlite.log import SqliteLog
from ingest.pds.pds import Pds
from processors.run_embedded import EmbeddedRunner
from schemas.topics import RECORDS


class NetworkCollector(Collector):
    """Labels are shards and reasons: bounded."""

    def __init__(
        self, version: str, log: SqliteLog, live: Callable[[], EmbeddedRunner], now: Callable[[], int]
    ) -> None:
        """`live` follows the log for the views that are read."""
        self._version = version
        self._log = log
        self._live = live
        self._now = now
        self._since = now()

    def collect(self) -> Iterator[Metric]:
        log, runner = self._log, self._live()
        yield build_info(self._version)
        yield CounterMetricFamily(
            "headrace_log_appended_entries_total", "Entries accepted into commits since the start.", value=log.appended
        )
        rejected = CounterMetricFamily(
            "headrace_log_rejected_entries_total", "Entries the verdict refused since the start.", labels=["reason"]
        )
        for reason, count in log.rejected.items():
            rejected.add_metric([reason.value], count)
        yield rejected
        ends = GaugeMetricFamily("headrace_log_records_end_offset", "Newest offset of records.", labels=["shard"])
        for shard in range(log.shards):
            ends.add_metric([str(shard)], log.records_end(shard))
        yield ends
        yield GaugeMetricFamily(
            "headrace_firehose_newest_seq", "Newest seq of the firehose.", value=log.firehose_bounds()[1]
        )
        yield CounterMetricFamily(
            "headrace_views_entries_total", "Entries the views have taken since the start.", value=runner.entries
        )
        yield CounterMetricFamily(
            "headrace_views_batches_total", "Transactions of the views since the start.", value=runner.batches
        )
        yield CounterMetricFamily(
            "headrace_views_projected_records_total",
            "Records that made rows, by a collection of `views.ALL`, since the start.",
            value=runner.decoder.projected_records,
        )
        invalid = CounterMetricFamily(
            "headrace_views_invalid_records_total",
            "Records in the log that fail their lexicon and made no rows, since the start.",
            labels=["reason"],
        )
        for why, count in runner.decoder.invalid.items():
            invalid.add_metric([why], count)
        yield invalid
        yield GaugeMetricFamily(
            "headrace_views_behind_entries", "Entries the views have not seen yet.", value=runner.behind()
        )
        yield GaugeMetricFamily(
            "headrace_views_freshness_seconds",
            "Now minus the log time of the newest entry seen, in the shard that is furthest behind; 0 when none is.",
            value=self.freshness(),
        )
        yield GaugeMetricFamily("headrace_views_ready", "1 while the views follow the log.", value=int(runner.ready))

    def freshness(self) -> float:
        """In seconds, as `headrace_views_freshness_seconds` says."""
        log, runner = self._log, self._live()
        # A shard of which nothing was seen yet has stood still since the start at the least.
        late = [
            runner.newest_times()[shard] or self._since
            for shard, reached in runner.reached_of(RECORDS).items()
            if reached < log.records_end(shard)
        ]
        return max(0.0, (self._now() - min(late)) / 1e6) if late else 0.0


class CommitMetrics:
    """What the log's writer tells of each commit."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "headrace_log_commit_duration_seconds",
            "One transaction of the log made durable.",
            buckets=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.25, 1.0),
            registry=registry,
        )
        self._entries = Histogram(
            "headrace_log_commit_entries",
            "Entries that one transaction of the log held: the size of the group.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=registry,
        )

    def committed(self, entries: int, seconds: float) -> None:
        self._seconds.observe(seconds)
        self._entries.observe(entries)


class HostCollector(Collector):
    """What the PDS and identity resolution hold open and in memory."""

    def __init__(self, pds: Pds, resolver: IdentityResolver) -> None:
        self._pds = pds
        self._resolver = resolver

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "headrace_account_files_open", "Account files open now.", value=self._pds.open_account_files
        )
        yield from lookups(self._resolver)


def build_info(version: str) -> Metric:
    build = GaugeMetricFamily("headrace_build_info", "The version that runs; always 1.", labels=["version"])
    build.add_metric([version], 1)
    return build


def lookups(resolver: IdentityResolver) -> Iterator[Metric]:
    """What identity resolution was asked, and holds."""
    asked = CounterMetricFamily(
        "headrace_identity_lookups_total",
        "DIDs and handles asked of the caches; a miss waits for a fetch.",
        labels=["cache", "outcome"],
    )
    entries = GaugeMetricFamily("headrace_identity_cached_entries", "Answers kept.", labels=["cache"])
    for cache, (hits, misses, kept) in resolver.lookups().items():
        asked.add_metric([cache, "hit"], hits)
        asked.add_metric([cache, "miss"], misses)
        entries.add_metric([cache], kept)
    yield from (asked, entries)
