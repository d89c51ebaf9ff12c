"""Metrics of a relay's tee, read when they are scraped. Does not own what counts as it happens (`headrace/tee.py`)."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headrace.tee import ArchiveTee


class TeeCollector(Collector):
    def __init__(self, tee: ArchiveTee) -> None:
        self._tee = tee

    def collect(self) -> Iterator[Metric]:
        tee = self._tee
        yield CounterMetricFamily("headrace_relay_teed_frames_total", "Frames put into archives.", tee.teed)
        yield CounterMetricFamily(
            "headrace_relay_tee_repeated_frames_total",
            "Frames that hosts sent again after a reconnection, and that archives had already.",
            tee.again,
        )
        yield CounterMetricFamily(
            "headrace_relay_tee_undocumented_total",
            "Times that an account's document could not be had when a frame of it was teed.",
            tee.undocumented,
        )
        yield GaugeMetricFamily(
            "headrace_relay_tee_waiting_bytes", "Bytes of frames that wait for the archives' disk.", tee.waiting_bytes
        )
