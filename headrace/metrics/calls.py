"""How long calls of clients took, as Prometheus' histograms, read when they are scraped.

Does not own what counts as it happens (`schemas.timings`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.log_kafka.requests import Requests
from schemas.timings import BOUNDS, Timings

_NAMES = (*map(str, BOUNDS), "+Inf")


def histogram(name: str, about: str, label: str, timings: Mapping[str, Timings]) -> Metric:
    """By the label's values; by none when `label` is empty."""
    family = HistogramMetricFamily(name, about, labels=[label] if label else [])
    for value, each in timings.items():
        total, buckets = 0, list[tuple[str, float]]()
        for bound, count in zip(_NAMES, each.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([value] if label else [], buckets, each.seconds)
    return family


def failures(name: str, about: str, label: str, timings: Mapping[str, Timings]) -> Metric:
    family = CounterMetricFamily(name, about, labels=[label] if label else [])
    for value, each in timings.items():
        family.add_metric([value] if label else [], each.failed)
    return family


class KafkaCollector(Collector):
    """Labels are kinds of requests: five."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def collect(self) -> Iterator[Metric]:
        by_kind = self._requests.by_kind
        yield histogram(
            "headrace_kafka_request_duration_seconds",
            "Requests that the broker answered. Of `fetch` with what it holds back while there is no news.",
            "request",
            by_kind,
        )
        yield failures(
            "headrace_kafka_failed_requests_total",
            "Requests that the broker did not answer: not connected, or not in time.",
            "request",
            by_kind,
        )


class Storing(Protocol):
    """`views.store_scylla.ScyllaStore`, as far as it is shown."""

    reads: Timings
    writes: Timings

    @property
    def repeated(self) -> int: ...


class StoreCollector(Collector):
    """What the store's client did. `store` is the one in use: another one counts from nothing."""

    def __init__(self, store: Callable[[], Storing]) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        store = self._store()
        by_access = {"read": store.reads, "write": store.writes}
        yield CounterMetricFamily(
            "headrace_store_repeated_statements_total",
            "Statements that the store did not answer at once and that were asked again.",
            value=store.repeated,
        )
        yield histogram(
            "headrace_store_request_duration_seconds",
            "Requests to the store, of one or many statements at once, until all were answered.",
            "access",
            by_access,
        )
        yield failures(
            "headrace_store_failed_requests_total",
            "Requests that the store did not answer for as long as they were asked again, or refused.",
            "access",
            by_access,
        )
        under_way = GaugeMetricFamily(
            "headrace_store_requests_under_way", "Requests to the store that are not answered yet.", labels=["access"]
        )
        for access, timings in by_access.items():
            under_way.add_metric([access], timings.under_way)
        yield under_way


class ViewsCommitCollector(Collector):
    """Commits of the views of one process. `commits` are those of the store that is read."""

    def __init__(self, commits: Callable[[], Timings]) -> None:
        self._commits = commits

    def collect(self) -> Iterator[Metric]:
        yield histogram(
            "headrace_views_commit_duration_seconds",
            "One transaction of the views made durable, of the generation that is read.",
            "",
            {"": self._commits()},
        )


class FetchCollector(Collector):
    """What strangers' servers were asked for identities."""

    def __init__(self, fetches: Timings) -> None:
        self._fetches = fetches

    def collect(self) -> Iterator[Metric]:
        yield histogram(
            "headrace_identity_fetch_duration_seconds",
            "Fetches of did:web documents, handles and the like from servers that have them, redirects included.",
            "",
            {"": self._fetches},
        )
        yield failures(
            "headrace_identity_failed_fetches_total",
            "Fetches that brought no answer: unreachable, forbidden, too slow or too large.",
            "",
            {"": self._fetches},
        )
