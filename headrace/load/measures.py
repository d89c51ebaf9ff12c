"""What criteria may ask of a result: names of measures, as `errors` or `p99_ms.getTimeline`.

Does not own their values (`criteria.py`) nor what a result holds (`result.py`).
"""

from __future__ import annotations

from difflib import get_close_matches

READS = ("getTimeline", "getAuthorFeed", "getProfile", "getPostThread", "getPosts")
WRITES = ("createRecord", "deleteRecord", "applyWrites", "createAccount")
VISIBLE = "write_to_timeline"
OPERATIONS = (*READS, *WRITES, VISIBLE)

OF_OPERATION = {
    "rate": "answers without error, a second",
    "p50_ms": "median latency from the intended start",
    "p90_ms": "90th percentile of latency",
    "p99_ms": "99th percentile of latency",
    "p99_9_ms": "99.9th percentile of latency",
    "max_ms": "longest latency",
    "errors": "share of requests that failed",
}
OF_RUN = {
    "requests_rate": "answers without error of all operations, a second",
    "events_rate": "records written or frames played in, a second",
    "errors": "share of all requests that failed",
    "dropped": "share of arrivals that found no free connection, and were not sent",
    "checks_failed": "answers that were wrong: posts missing or twice in timelines, counts that differ",
    "checks_made": "answers that were looked at",
    "freshness_seconds": "longest time the views were behind the log",
    "behind_entries": "most entries the views were behind the log",
    "settled_seconds": "time after the load until the views had seen the whole log",
    "memory_mb": "most resident memory of the target's processes",
    "memory_slope_mb_per_hour": "growth of the target's resident memory, by least squares",
    "descriptors_slope_per_hour": "growth of the target's open descriptors",
    "behind_slope_per_hour": "growth of the entries the views are behind",
    "lateness_p99_ms": "99th percentile of the generator's own lateness",
    "unplanned_deaths": "times the target ended though no fault said so",
}
MEASURES = (*OF_RUN, *(f"{kind}.{operation}" for kind in OF_OPERATION for operation in OPERATIONS))


def nearest_measure(name: str) -> str:
    """The measure of this name, or the one that is most like it."""
    return name if name in MEASURES else get_close_matches(name, MEASURES, 1, cutoff=0.0)[0]
