"""Metrics of a cluster's roles that are read when they are scraped.

Labels are topics, shards and reasons: bounded. Does not own what counts as it happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headrace.collector import build_info, lookups
from headrace.river import Standing
from ingest.identity.resolver import IdentityResolver
from ingest.log import FirehoseReader, Reason
from processors.lanes import TOPICS, Lanes


class Repeating(Protocol):
    @property
    def repeated(self) -> int: ...


class Deriving(Protocol):
    """`ingest.log_kafka_derive.DeriveWorker`, as far as it is shown."""

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


class Running(Protocol):
    """A runner of lanes."""

    @property
    def lanes(self) -> Lanes: ...

    @property
    def ready(self) -> bool: ...


class Flowing(Protocol):
    last: Standing


class RoleCollector(Collector):
    """What every role shows: its version, and who is who, where it asks."""

    def __init__(self, version: str, resolver: IdentityResolver | None = None) -> None:
        self._version = version
        self._resolver = resolver

    def collect(self) -> Iterator[Metric]:
        yield build_info(self._version)
        if self._resolver is not None:
            yield from lookups(self._resolver)


class StoreCollector(Collector):
    """What the store's client had to do again."""

    def __init__(self, store: Repeating) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "headrace_store_repeated_statements_total",
            "Statements that the store did not answer at once and that were asked again.",
            value=self._store.repeated,
        )


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


class LanesCollector(Collector):
    """What the lanes of this process have done."""

    def __init__(self, runner: Running) -> None:
        self._runner = runner

    def collect(self) -> Iterator[Metric]:
        lanes = self._runner.lanes
        open_lanes = lanes.lanes
        entries, shards = Counter(lanes.entries), Counter(topic for topic, _ in open_lanes)
        entries.update(dict.fromkeys(TOPICS, 0))
        for (topic, _), lane in open_lanes.items():
            entries[topic] += lane.entries
        taken = CounterMetricFamily(
            "headrace_lane_entries_total", "Messages that lanes have taken since the start.", labels=["topic"]
        )
        having = GaugeMetricFamily("headrace_lane_shards", "Shards that this process has.", labels=["topic"])
        offsets = GaugeMetricFamily(
            "headrace_lane_offset", "Offset up to which a lane has saved everything.", labels=["topic", "shard"]
        )
        for topic in TOPICS:
            taken.add_metric([topic], entries[topic])
            having.add_metric([topic], shards[topic])
        for (topic, shard), lane in open_lanes.items():
            offsets.add_metric([topic, str(shard)], lane.offset)
        yield from (taken, having, offsets)
        yield CounterMetricFamily("headrace_lane_taken_shards_total", "Shards taken, ever.", value=lanes.taken)
        yield CounterMetricFamily(
            "headrace_lane_given_up_shards_total", "Shards that were not closed in time.", value=lanes.given_up
        )
        yield CounterMetricFamily(
            "headrace_views_projected_records_total",
            "Records that made rows, by a collection of `views.ALL`, since the start.",
            value=lanes.decoder.projected_records,
        )
        invalid = CounterMetricFamily(
            "headrace_views_invalid_records_total",
            "Records in the log that fail their lexicon and made no rows, since the start.",
            labels=["reason"],
        )
        for why, count in lanes.decoder.invalid.items():
            invalid.add_metric([why], count)
        yield invalid
        yield GaugeMetricFamily(
            "headrace_views_ready", "1 while the views follow the log.", value=int(self._runner.ready)
        )


class RiverCollector(Collector):
    """How far the log has flowed, as of the newest look."""

    def __init__(self, river: Flowing) -> None:
        self._river = river

    def collect(self) -> Iterator[Metric]:
        last = self._river.last
        waiting = GaugeMetricFamily(
            "headrace_waiting_entries",
            "Entries that the next stage has not taken yet: derive of commits, lanes of the rest.",
            labels=["topic", "shard"],
        )
        for (topic, shard), entries in last.waiting.items():
            waiting.add_metric([topic, str(shard)], entries)
        yield waiting
        ages = GaugeMetricFamily(
            "headrace_views_age_seconds",
            "Now minus the log time of the newest entry taken, of a shard of records that views are behind in.",
            labels=["shard"],
        )
        for shard, seconds in enumerate(last.ages):
            ages.add_metric([str(shard)], seconds)
        yield ages
        yield GaugeMetricFamily(
            "headrace_views_behind_entries", "Entries the views have not seen yet.", value=last.behind
        )
        yield GaugeMetricFamily(
            "headrace_views_freshness_seconds",
            "Now minus the log time of the newest entry seen, in the shard that is furthest behind; 0 when none is.",
            value=last.freshness,
        )
