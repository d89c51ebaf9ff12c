"""Metrics of a cluster's roles that are read when they are scraped: of all roles, of derive, of the firehose.

Labels are topics, shards and reasons: bounded. Does not own what counts as it happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headrace.metrics.embedded import build_info, lookups
from ingest.identity.resolver import IdentityResolver
from ingest.log import FirehoseReader, Reason


class Deriving(Protocol):
    """`ingest.log_kafka.derive.worker.DeriveWorker`, as far as it is shown."""

    @property
    def entries(self) -> int: ...

    @property
    def transactions(self) -> int: ...

    @property
    def rejected(self) -> Counter[Reason]: ...

    @property
    def places(self) -> Mapping[int, int]: ...

    @property
    def open_transaction_seconds(self) -> float: ...


class RoleCollector(Collector):
    """What every role shows: its version, and who is who, where it asks."""

    def __init__(self, version: str, resolver: IdentityResolver | None = None) -> None:
        self._version = version
        self._resolver = resolver

    def collect(self) -> Iterator[Metric]:
        yield build_info(self._version)
        if self._resolver is not None:
            yield from lookups(self._resolver)


class FirehoseCollector(Collector):
    """Where the firehose stands."""

    def __init__(self, reader: FirehoseReader) -> None:
        self._reader = reader

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "headrace_firehose_newest_seq", "Newest seq of the firehose.", value=self._reader.firehose_bounds()[1]
        )


class DeriveCollector(Collector):
    """What derive has done, and where it stands."""

    def __init__(self, worker: Deriving) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        worker = self._worker
        yield CounterMetricFamily(
            "headrace_derive_entries_total", "Entries of commits judged since the start.", value=worker.entries
        )
        yield CounterMetricFamily(
            "headrace_derive_transactions_total", "Kafka transactions committed by derive.", value=worker.transactions
        )
        rejected = CounterMetricFamily(
            "headrace_derive_rejected_entries_total", "Entries of commits the verdict refused.", labels=["reason"]
        )
        for reason, count in worker.rejected.items():
            rejected.add_metric([reason.value], count)
        yield rejected
        places = GaugeMetricFamily(
            "headrace_derive_place_offset",
            "Offset of commits to which a shard that this process has is derived.",
            labels=["shard"],
        )
        for shard, offset in worker.places.items():
            places.add_metric([str(shard)], offset)
        yield places
        yield GaugeMetricFamily(
            "headrace_derive_open_transaction_seconds",
            "How long the oldest open transaction in commits has hidden what comes after it; alert above the"
            " transaction timeout.",
            value=worker.open_transaction_seconds,
        )
