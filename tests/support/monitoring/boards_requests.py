"""Dashboards of what is asked: AppView and PDS.

Does not own what flows (`boards_flow.py`), nor rebuilds and what must never be (`boards_integrity.py`).
"""

from __future__ import annotations

from tests.support.monitoring.board_of_the_river import ASKED, COMMITTED, FAILED, READS, TOOK, WRITES
from tests.support.monitoring.objectives import OBJECTIVES, RECORD
from tests.support.monitoring.panels import (
    BAD,
    DAY,
    QUICK,
    SHARE,
    WARNING,
    ZERO,
    Board,
    Panel,
    graph,
    quantile,
    rate,
    rate_or_zero,
    ratio,
    share,
    stat,
)

_ATPROTO = 'nsid=~"com.atproto.*"'


def _red(chosen: str, what: str) -> tuple[Panel, ...]:
    """Rate, errors and duration by endpoint; at most twelve lines each."""
    return (
        graph(
            "Requests",
            f"Of {what} a second, by method; the twelve most asked for.",
            "reqps",
            (f"topk(12, {rate(f'{ASKED}{{{chosen}}}', 'nsid')} > 0)", "{{nsid}}"),
        ),
        graph(
            "Errors",
            f"Answers of {what} with 5xx a second, by method and status, 501 left out; the twelve most frequent.",
            "reqps",
            (f"topk(12, {rate(f'{ASKED}{{{chosen},{FAILED}}}', 'nsid, status')} > 0)", "{{nsid}} {{status}}"),
        ),
        graph(
            "Duration of 99 in 100",
            f"From the head of a request of {what} to the last byte of its answer, by method; the twelve slowest.",
            "s",
            (f"topk(12, {quantile(0.99, f'{TOOK}{{{chosen}}}', 'nsid')})", "{{nsid}}"),
            steps=QUICK,
        ),
    )


APPVIEW = Board(
    "appview",
    "AppView",
    "Reads: rate, errors and duration by endpoint, and how much of the objectives' budgets is left.",
    (
        (
            "Objectives",
            (
                graph(
                    "Budgets that burn",
                    "Errors of the last hour over the errors that are allowed: 1 uses 30 days' budget in 30 days, 14.4"
                    " pages. Of the shipped rules' records, for all jobs.",
                    "short",
                    *(
                        (
                            f'{RECORD}_1h{{objective="{objective.name}"}} / {1 - objective.target:.5g}',
                            objective.name.replace("_", " "),
                        )
                        for objective in OBJECTIVES
                    ),
                    steps=((1, WARNING), (14.4, BAD)),
                    width=12,
                ),
                graph(
                    "Duration",
                    "Of all methods of app.bsky together.",
                    "s",
                    (quantile(0.5, f"{TOOK}{{{READS}}}"), "half"),
                    (quantile(0.9, f"{TOOK}{{{READS}}}"), "90 of 100"),
                    (quantile(0.99, f"{TOOK}{{{READS}}}"), "99 of 100"),
                    steps=QUICK,
                    width=12,
                ),
            ),
        ),
        ("By endpoint", _red(READS, "app.bsky")),
        (
            "Around them",
            (
                graph(
                    "In flight",
                    "Requests being answered, by process.",
                    "short",
                    ("sum by (instance) (headrace_xrpc_requests_in_flight)", "{{instance}}"),
                ),
                graph(
                    "Answers by status",
                    "Of app.bsky, a second.",
                    "reqps",
                    (rate(f"{ASKED}{{{READS}}}", "status"), "{{status}}"),
                ),
                graph(
                    "Own writes not seen",
                    "Reads a second that were answered before the views held the viewer's own last write.",
                    "reqps",
                    (rate("headrace_read_your_writes_timeouts_total", "instance"), "{{instance}}"),
                    steps=((0.01, WARNING), (0.1, BAD)),
                ),
                graph(
                    "Refused by a rate limit",
                    "Requests a second, by the limit's name; the ten most frequent.",
                    "reqps",
                    (f"topk(10, {rate('headrace_xrpc_rate_limited_requests_total', 'rule')})", "{{rule}}"),
                ),
                graph(
                    "Identities from the cache",
                    "Share of DIDs and handles that needed no fetch.",
                    "percentunit",
                    (
                        ratio(
                            rate('headrace_identity_lookups_total{outcome="hit"}', "cache"),
                            rate("headrace_identity_lookups_total", "cache"),
                        ),
                        "{{cache}}",
                    ),
                    top=1,
                ),
                graph(
                    "Identities kept",
                    "Answers in the caches.",
                    "short",
                    ("sum by (cache) (headrace_identity_cached_entries)", "{{cache}}"),
                ),
                graph(
                    "Waiting for their turn",
                    "Share of what may wait (requests_waiting) of each kind: more are asked at once than are answered"
                    " at once (requests_at_once). At the top whoever comes next is turned away.",
                    "percentunit",
                    (
                        "max by (kind) (headrace_xrpc_requests_waiting / headrace_xrpc_waiting_limit_requests)",
                        "{{kind}}",
                    ),
                    steps=((0.5, WARNING), (0.9, BAD)),
                    top=1,
                ),
                graph(
                    "Turned away",
                    "Requests a second answered 503 as too many waited (full) or they had waited too long (late), and"
                    " those whose clients left first.",
                    "reqps",
                    (rate("headrace_xrpc_shed_requests_total", "kind, reason"), "{{kind}}: {{reason}}"),
                ),
                graph(
                    "Answered without a part",
                    "Answers a second that went without what the store did not bring in time, by part.",
                    "reqps",
                    (rate("headrace_degraded_answers_total", "part"), "{{part}}"),
                ),
                graph(
                    "Rows from a moment ago",
                    "Share of what an AppView's requests asked of a table that needed no reading: kept for"
                    " rows_kept_seconds, or read for another request at that moment.",
                    "percentunit",
                    (
                        ratio(
                            rate('headrace_recent_rows_lookups_total{outcome!="miss"}', "table"),
                            rate("headrace_recent_rows_lookups_total", "table"),
                        ),
                        "{{table}}",
                    ),
                    top=1,
                ),
                graph(
                    "Rows kept",
                    "Bytes, about, by table.",
                    "bytes",
                    ("sum by (table) (headrace_recent_rows_bytes)", "{{table}}"),
                ),
                graph(
                    "Rows put out",
                    "Entries a second that made room for others before their time.",
                    "short",
                    (rate("headrace_recent_rows_evicted_total", "table"), "{{table}}"),
                ),
            ),
        ),
    ),
)

PDS = Board(
    "pds",
    "PDS",
    "Writes and everything else of com.atproto: rate, errors and duration by endpoint, the log under it, its files.",
    (
        (
            "Writes",
            (
                stat(
                    "Writes",
                    "To repos, a second.",
                    "reqps",
                    rate_or_zero(f"{ASKED}{{{WRITES}}}", "headrace_build_info"),
                ),
                stat(
                    "Writes that fail",
                    "Share that is answered with 5xx. The objective is 0.1 %.",
                    "percentunit",
                    share(f'{ASKED}{{{WRITES},status=~"5.."}}', f"{ASKED}{{{WRITES}}}"),
                    SHARE,
                    missing="no writes",
                ),
                stat(
                    "Written within",
                    "99 of 100 writes, from the request's head to the answer.",
                    "s",
                    quantile(0.99, f"{TOOK}{{{WRITES}}}"),
                    QUICK,
                    missing="no writes",
                ),
                stat(
                    "Log away",
                    "Processes that cannot reach the broker and answer writes with 503.",
                    "short",
                    "sum(headrace_log_away)",
                    ZERO,
                    missing="no broker",
                ),
                stat(
                    "Outcomes unknown",
                    "Transactions within a day whose outcome had to be read back; their writers were answered 503.",
                    "short",
                    f"sum(increase(headrace_log_unknown_outcomes_total{DAY}))",
                    ((1, WARNING), (10, BAD)),
                    missing="no broker",
                ),
                stat("Account files", "Open now.", "short", "sum(headrace_account_files_open)"),
            ),
        ),
        ("By endpoint", _red(_ATPROTO, "com.atproto")),
        (
            "Log",
            (
                graph(
                    "Commits of the log",
                    "How long one transaction takes to be durable.",
                    "s",
                    (quantile(0.5, COMMITTED), "half"),
                    (quantile(0.99, COMMITTED), "99 of 100"),
                    steps=QUICK,
                ),
                graph(
                    "Entries of a commit",
                    "Mean size of a group: it grows under load, and that is meant.",
                    "short",
                    (
                        ratio(rate("headrace_log_commit_entries_sum"), rate("headrace_log_commit_entries_count")),
                        "mean",
                    ),
                ),
                graph(
                    "Appended and refused",
                    "Entries a second, and those that the verdict refused, by reason.",
                    "cps",
                    (rate("headrace_log_appended_entries_total"), "appended"),
                    (f"topk(8, {rate('headrace_log_rejected_entries_total', 'reason')})", "refused: {{reason}}"),
                ),
            ),
        ),
    ),
)

REQUEST_BOARDS = (APPVIEW, PDS)
