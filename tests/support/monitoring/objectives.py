"""Service levels with multi-window, multi-burn-rate alerts (Google SRE workbook, chapter 5, "Alerting on SLOs").

An objective is kept over 30 days. A burn rate of 1 uses its budget up in just that time; an alert fires while both a
long and a short window burn faster than its rate: the long one says that it matters, the short one that it goes on.
Does not own the other alerts (`alerts.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

RECORD = "headrace:objective_errors:ratio"
STALE = "headrace:views_stale:bool"
STALE_SECONDS = 5
SLOW_SECONDS = "0.25"  # a bucket of headrace_xrpc_request_duration_seconds
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
# severity, burn rate, long window, short window; a page is 2 % of the budget in an hour, or 5 % in six.
BURNS = (
    ("page", 14.4, "1h", "5m"),
    ("page", 6.0, "6h", "30m"),
    ("ticket", 3.0, "1d", "2h"),
    ("ticket", 1.0, "3d", "6h"),
)
_WRITES = 'nsid=~"com.atproto.repo.(applyWrites|createRecord|deleteRecord|putRecord)"'
_ASKED = "headrace_xrpc_requests_total"
_TOOK = "headrace_xrpc_request_duration_seconds"


class Objective(NamedTuple):
    """`errors` is an expression of {window} between 0 and 1; `target` is the share that has to be good."""

    name: str
    alert: str
    target: float
    errors: str
    summary: str
    description: str


# 501 is the answer to a method that nobody promised.
OBJECTIVES = (
    Objective(
        "availability",
        "HeadraceRequestsFail",
        0.999,
        f'sum(rate({_ASKED}{{status=~"5..",status!="501"}}[{{window}}]))'
        f' / sum(rate({_ASKED}{{status!="501"}}[{{window}}]))',
        "Requests are answered with 5xx",
        "99.9 % of all XRPC requests are to be answered with something else than 5xx.",
    ),
    Objective(
        "read_latency",
        "HeadraceReadsAreSlow",
        0.99,
        f'1 - sum(rate({_TOOK}_bucket{{nsid=~"app.bsky.*",le="{SLOW_SECONDS}"}}[{{window}}]))'
        f' / sum(rate({_TOOK}_count{{nsid=~"app.bsky.*"}}[{{window}}]))',
        "Reads of the AppView take long",
        "99 % of the answers of app.bsky are to take less than 250 ms.",
    ),
    Objective(
        "freshness",
        "HeadraceViewsAreStale",
        0.995,
        f"avg_over_time({STALE}[{{window}}])",
        "What was written does not show",
        "For 99.5 % of the time what was written is to show within 5 s.",
    ),
    Objective(
        "durability",
        "HeadraceWritesFail",
        0.999,
        f'sum(rate({_ASKED}{{{_WRITES},status=~"5.."}}[{{window}}])) / sum(rate({_ASKED}{{{_WRITES}}}[{{window}}]))',
        "Writes are not made durable",
        "99.9 % of all writes to repos are to be answered with something else than 5xx.",
    ),
)


def records() -> list[dict[str, Any]]:
    """Recording rules: the error ratio of each objective over each window, by `objective`."""
    # The least of them: while another generation is built, its processors are behind and nobody reads it.
    stale = {"record": STALE, "expr": f"min(headrace_views_freshness_seconds) > bool {STALE_SECONDS}"}
    ratios = [
        {
            "record": f"{RECORD}_{window}",
            "expr": objective.errors.replace("{window}", window),
            "labels": {"objective": objective.name},
        }
        for objective in OBJECTIVES
        for window in WINDOWS
    ]
    return [stale, *ratios]


def expression(objective: Objective, severity: str) -> str:
    """True while either pair of windows of the severity burns."""
    budget = 1 - objective.target
    chosen = f'{{objective="{objective.name}"}}'
    pairs = [
        f"({RECORD}_{long}{chosen} > {burn * budget:.5g} and {RECORD}_{short}{chosen} > {burn * budget:.5g})"
        for level, burn, long, short in BURNS
        if level == severity
    ]
    return " or ".join(pairs)
