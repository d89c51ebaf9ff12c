"""The first dashboard: the river on one screen, left to right.

Does not own what lies behind each of its numbers: the other boards do.
"""

from __future__ import annotations

from tests.support.monitoring.panels import (
    BAD,
    FRESH,
    QUICK,
    SHARE,
    WARNING,
    Board,
    graph,
    quantile,
    rate,
    rate_or_zero,
    share,
    stat,
)

ASKED = "headrace_xrpc_requests_total"
TOOK = "headrace_xrpc_request_duration_seconds"
WRITES = 'nsid=~"com.atproto.repo.(applyWrites|createRecord|deleteRecord|putRecord)"'
READS = 'nsid=~"app.bsky.*"'
FAILED = 'status=~"5..",status!="501"'  # 501 is the answer to a method that nobody promised
CUT = 'headrace_firehose_cut_subscribers_total{reason=~"too_slow|stalled"}'
BEHIND: tuple[tuple[float, str], ...] = ((1000, WARNING), (10_000, BAD))
COMMITTED = "headrace_log_commit_duration_seconds"
WAITING = "max by (topic, shard) (headrace_waiting_entries)"
DERIVED = f"{rate('headrace_derive_entries_total')} or {rate('headrace_log_appended_entries_total')}"
VIEWED = f"{rate('headrace_views_entries_total')} or " + rate('headrace_lane_entries_total{topic="records"}')
REFUSED = (
    f"{rate('headrace_derive_rejected_entries_total')} or {rate('headrace_log_rejected_entries_total')}"
    " or 0 * sum(headrace_log_appended_entries_total) or 0 * sum(headrace_derive_entries_total)"
)

RIVER = Board(
    "river",
    "The river",
    "From the left to the right what comes in, is made durable, judged, passed on, shown and asked for; from above"
    " to below how much, what waits and what is wrong.",
    (
        (
            "",
            (
                stat(
                    "From the network",
                    "Entries a second that were read of other hosts or of archives and that held.",
                    "cps",
                    rate_or_zero("headrace_ingest_accepted_entries_total", "headrace_build_info"),
                ),
                stat(
                    "Written here",
                    "Writes to repos a second that our PDS was asked for.",
                    "reqps",
                    rate_or_zero(f"{ASKED}{{{WRITES}}}", "headrace_build_info"),
                ),
                stat("Log", "Entries of commits a second that the verdict let in.", "cps", DERIVED),
                stat(
                    "Firehose",
                    "Frames a second sent to all subscribers.",
                    "cps",
                    rate("headrace_firehose_frames_total"),
                ),
                stat(
                    "Views",
                    "Entries a second that the views have taken; in a cluster of all generations together.",
                    "cps",
                    VIEWED,
                ),
                stat(
                    "AppView",
                    "Requests for app.bsky a second.",
                    "reqps",
                    rate_or_zero(f"{ASKED}{{{READS}}}", "headrace_build_info"),
                ),
            ),
        ),
        (
            "",
            (
                stat(
                    "Under way",
                    "Messages of hosts that are read and not yet in the log or refused.",
                    "short",
                    "sum(headrace_relay_under_way_messages)",
                    missing="no relay",
                ),
                stat(
                    "Durable within",
                    "In 99 of 100 cases a transaction of the log is durable within this.",
                    "s",
                    quantile(0.99, COMMITTED),
                    QUICK,
                    missing="no writes",
                ),
                stat(
                    "Not yet judged",
                    "Entries of commits that derive has not taken. In one process they are judged as they are written.",
                    "short",
                    'sum(max by (shard) (headrace_waiting_entries{topic="commits"}))',
                    BEHIND,
                    missing="none: one process",
                ),
                stat(
                    "Subscribers", "Connections that read the firehose.", "short", "sum(headrace_firehose_subscribers)"
                ),
                stat(
                    "Not yet shown",
                    "Entries that views have not seen, of the generation that is the least behind: another one may"
                    " be under construction.",
                    "short",
                    "min(headrace_views_behind_entries)",
                    BEHIND,
                ),
                stat(
                    "Answered within",
                    "In 99 of 100 cases an answer of app.bsky takes less than this.",
                    "s",
                    quantile(0.99, f"{TOOK}{{{READS}}}"),
                    QUICK,
                    missing="no requests",
                ),
            ),
        ),
        (
            "",
            (
                stat(
                    "Refused of others",
                    "Entries a second that others sent and that did not hold; Ingest and relay has the reasons.",
                    "cps",
                    rate_or_zero("headrace_ingest_refused_entries_total", "headrace_build_info"),
                    ((1, WARNING), (100, BAD)),
                ),
                stat(
                    "Writes that fail",
                    "Share of writes to repos that are answered with 5xx.",
                    "percentunit",
                    share(f'{ASKED}{{{WRITES},status=~"5.."}}', f"{ASKED}{{{WRITES}}}"),
                    SHARE,
                    missing="no writes",
                ),
                stat(
                    "Refused by the verdict",
                    "Entries a second that do not follow their account's head; duplicates are among them.",
                    "cps",
                    REFUSED,
                    ((0.1, WARNING), (10, BAD)),
                ),
                stat(
                    "Cut off",
                    "Subscribers a minute that could not keep up.",
                    "short",
                    f"60 * ({rate_or_zero(CUT, 'headrace_build_info')})",
                    ((1, WARNING), (10, BAD)),
                ),
                stat(
                    "Freshness",
                    "How old the newest entry is that views show while more waits; 0 when none does. At most 5 s.",
                    "s",
                    "min(headrace_views_freshness_seconds)",
                    FRESH,
                ),
                stat(
                    "Requests that fail",
                    "Share of all requests that are answered with 5xx, 501 left out.",
                    "percentunit",
                    share(f"{ASKED}{{{FAILED}}}", f'{ASKED}{{status!="501"}}'),
                    SHARE,
                    missing="no requests",
                ),
            ),
        ),
        (
            "",
            (
                graph(
                    "What flows",
                    "Entries a second at each stage: lines that part are a stage that falls behind.",
                    "cps",
                    (DERIVED, "judged"),
                    (rate("headrace_firehose_frames_total"), "frames sent"),
                    (VIEWED, "taken by views"),
                    width=10,
                ),
                graph(
                    "Freshness",
                    "Of the generation that is read, and of the one that is the furthest behind.",
                    "s",
                    ("min(headrace_views_freshness_seconds)", "least"),
                    ("max(headrace_views_freshness_seconds)", "most"),
                    steps=FRESH,
                    width=7,
                ),
                graph(
                    "Firing alerts",
                    "By name; docs/runbooks has a page for each.",
                    "short",
                    (
                        'sum by (alertname, severity) (ALERTS{alertname=~"Headrace.*",alertstate="firing"})',
                        "{{alertname}} ({{severity}})",
                    ),
                    width=7,
                ),
            ),
        ),
    ),
)
