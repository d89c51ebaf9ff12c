"""What the HTTP layer counts. Labels are bounded: `nsid` only from the catalogue, `status` as three digits.

Does not own the listener that serves them (`api/ops.py`).
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class HttpMetrics:
    """Made once a registry; endpoints keep their children (looking a label up costs more than counting)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Else each counter has a second series that nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.requests = Counter(
            "headrace_xrpc_requests_total", "XRPC requests answered.", ["nsid", "status"], registry=registry
        )
        self.seconds = Histogram(
            "headrace_xrpc_request_duration_seconds",
            "From the request's head to its last byte handed over.",
            ["nsid"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("headrace_xrpc_requests_in_flight", "XRPC requests being answered.", registry=registry)
        self.waiting = Gauge(
            "headrace_xrpc_requests_waiting", "XRPC requests that wait for their turn.", ["kind"], registry=registry
        )
        self.waiting_limit = Gauge(
            "headrace_xrpc_waiting_limit_requests",
            "XRPC requests of a kind that may wait for their turn; who comes then is turned away.",
            ["kind"],
            registry=registry,
        )
        self.shed = Counter(
            "headrace_xrpc_shed_requests_total",
            "Requests turned away with 503 (full, late), or whose clients left before their turn (left).",
            ["kind", "reason"],
            registry=registry,
        )
        self.limited = Counter(
            "headrace_xrpc_rate_limited_requests_total",
            "Requests refused by a rate limit.",
            ["rule"],
            registry=registry,
        )
        self.stale_reads = Counter(
            "headrace_read_your_writes_timeouts_total",
            "Reads answered before the views held the viewer's own last write.",
            registry=registry,
        )
        self.degraded = Counter(
            "headrace_degraded_answers_total",
            "Answers of an AppView that went without a part, as the store did not bring it in time.",
            ["part"],
            registry=registry,
        )
        self.subscribers = Gauge("headrace_firehose_subscribers", "Open subscribeRepos connections.", registry=registry)
        self.frames = Counter(
            "headrace_firehose_frames_total", "Frames sent to subscribers of subscribeRepos.", registry=registry
        )
        self.subscribers_cut = Counter(
            "headrace_firehose_cut_subscribers_total", "Subscribers ended by us.", ["reason"], registry=registry
        )
        self.accepted = Counter(
            "headrace_ingest_accepted_entries_total",
            "What `headrace ingest` put into the log: frames, or records of repos.",
            ["source"],
            registry=registry,
        )
        self.refused = Counter(
            "headrace_ingest_refused_entries_total",
            "What `headrace ingest` brought and the log did not take.",
            ["source", "reason"],
            registry=registry,
        )
