"""Metrics of a cluster's processors that are read when they are scraped: lanes, and how far the log has flowed.

Labels are topics, shards and reasons: bounded. Does not own what counts as it happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headrace.river import Standing, lateness
from processors.lanes.shards import TOPICS, Lanes


class Running(Protocol):
    """A runner of lanes."""

    @property
    def lanes(self) -> Lanes: ...

    @property
    def ready(self) -> bool: ...


class Flowing(Protocol):
    last: Standing

    @property
    def unseen(self) -> float: ...


class LanesCollector(Collector):
    """What the lanes of this process have done."""

    def __init__(self, runner: Running) -> None:
        self._runner = runner

    def collect(self) -> Iterator[Metric]:
        lanes = self._runner.lanes
        open_lanes = lanes.lanes
        entries, shards = Counter(lanes.entries), Counter(topic for topic, _ in open_lanes)
        entries.update(dict.fromkeys(TOPICS, 0))
        seconds = dict(lanes.busy)
        for (topic, _), lane in open_lanes.items():
            entries[topic] += lane.entries
            seconds[topic] += lane.busy
        taken = CounterMetricFamily(
            "headrace_lane_entries_total", "Messages that lanes have taken since the start.", labels=["topic"]
        )
        busy = CounterMetricFamily(
            "headrace_lane_busy_seconds_total",
            "Seconds that lanes were at a batch since the start, of all shards: by the number of shards, how busy they"
            " are.",
            labels=["topic"],
        )
        having = GaugeMetricFamily("headrace_lane_shards", "Shards that this process has.", labels=["topic"])
        offsets = GaugeMetricFamily(
            "headrace_lane_offset", "Offset up to which a lane has saved everything.", labels=["topic", "shard"]
        )
        for topic in TOPICS:
            taken.add_metric([topic], entries[topic])
            busy.add_metric([topic], seconds[topic])
            having.add_metric([topic], shards[topic])
        for (topic, shard), lane in open_lanes.items():
            offsets.add_metric([topic, str(shard)], lane.offset)
        yield from (taken, busy, having, offsets)
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
            value=lateness(last, self._river.unseen),
        )
        yield GaugeMetricFamily(
            "headrace_river_unseen_seconds",
            "Since broker and store last told how far the log has flowed; above 15, what else is told of that is old,"
            " and this is added to headrace_views_freshness_seconds.",
            value=self._river.unseen,
        )
