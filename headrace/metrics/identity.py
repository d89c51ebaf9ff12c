"""Metrics of who is who, read when they are scraped: documents on disk, the did:plc directory elsewhere, its mirror.

Does not own what resolution was asked (`lookups` in `headrace/metrics/embedded.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.identity.breaker import STATES
from ingest.identity.kept_documents import KeptDocuments
from ingest.identity.plc_mirror import PlcMirror
from ingest.identity.plc_paced import PacedPlc

_OUTCOMES = ("answered", "failed", "turned_away")


class IdentityCollector(Collector):
    """A part that this process does without has no samples. Labels are states and outcomes: bounded."""

    def __init__(self, kept: KeptDocuments | None, plc: PacedPlc | None, mirror: PlcMirror | None) -> None:
        self._kept = kept
        self._plc = plc
        self._mirror = mirror

    def collect(self) -> Iterator[Metric]:
        if self._kept is not None:
            yield from _on_disk(self._kept)
        if self._plc is not None:
            yield from _directory(self._plc)
        if self._mirror is not None:
            yield from _mirrored(self._mirror)


def _on_disk(kept: KeptDocuments) -> Iterator[Metric]:
    yield GaugeMetricFamily("headrace_identity_disk_rows", "DID documents kept on disk.", value=kept.rows)
    yield CounterMetricFamily(
        "headrace_identity_disk_hits_total", "DIDs that memory did not know and the disk did.", value=kept.hits
    )
    yield CounterMetricFamily(
        "headrace_identity_disk_evictions_total",
        "Documents on disk that made room for others; when it grows steadily, identity_cache_rows is small.",
        value=kept.evicted,
    )


def _directory(plc: PacedPlc) -> Iterator[Metric]:
    breaker = plc.breaker
    states = GaugeMetricFamily(
        "headrace_identity_directory_state",
        "1 for the state of the breaker before the did:plc directory: `closed` asks, `open` does not, `half_open` "
        "tries once.",
        labels=["breaker"],
    )
    for state in STATES:
        states.add_metric([state], int(breaker.state == state))
    yield states
    yield GaugeMetricFamily(
        "headrace_identity_directory_limit_requests",
        "Requests that the did:plc directory is given at once; falls when it fails, rises when it answers.",
        value=breaker.limit,
    )
    requests = CounterMetricFamily(
        "headrace_identity_directory_requests_total",
        "Questions for the did:plc directory; `turned_away` were not sent, as it fails or is slow.",
        labels=["asked"],
    )
    for outcome in _OUTCOMES:
        requests.add_metric([outcome], plc.outcomes[outcome])
    yield requests


def _mirrored(mirror: PlcMirror) -> Iterator[Metric]:
    store = mirror.store
    yield GaugeMetricFamily(
        "headrace_plc_mirror_lag_seconds",
        "How far the mirror is behind the did:plc directory; above plc_mirror_lag the directory is asked instead.",
        value=mirror.lag,
    )
    yield GaugeMetricFamily("headrace_plc_mirror_dids", "DIDs in the mirror.", value=store.dids)
    yield CounterMetricFamily(
        "headrace_plc_mirror_hits_total", "Documents that the mirror gave since the start.", value=mirror.hits
    )
    yield CounterMetricFamily(
        "headrace_plc_mirror_taken_operations_total", "Operations verified and taken since the start.", store.taken
    )
    refused = CounterMetricFamily(
        "headrace_plc_mirror_refused_operations_total",
        "Operations that did not hold, with the later ones of their DIDs, which are left to the directory.",
        labels=["reason"],
    )
    for reason, count in store.refused.items():
        refused.add_metric([reason], count)
    yield refused
    failed = CounterMetricFamily(
        "headrace_plc_mirror_failed_requests_total", "Pages that could not be had.", labels=["reason"]
    )
    for reason, count in mirror.failed.items():
        failed.add_metric([reason], count)
    yield failed
