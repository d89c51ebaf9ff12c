"""Dashboards of generations and audits, and of what must never be.

Does not own what flows (`boards_flow.py`) nor what is asked (`boards_requests.py`).
"""

from __future__ import annotations

from tests.support.monitoring.panels import (
    DAY,
    ZERO,
    Board,
    Panel,
    graph,
    rate,
    ratio,
    stat,
)

LEFT = "headrace_generation_behind_entries"
OTHERS = '{reason!="duplicate"}'

REBUILD = Board(
    "rebuild",
    "Rebuild and audit",
    "Generations of the views: how far each has come, which one is read; accounts whose rows were computed anew.",
    (
        (
            "Generations of one process",
            (
                graph(
                    "Still to be read",
                    "Entries that a generation has not seen. It may be flipped to once it is at nothing.",
                    "short",
                    ("headrace_generation_behind_entries", "{{instance}} {{generation}}"),
                ),
                graph(
                    "Time left",
                    "At the pace of the last ten minutes; nothing is shown of one that has caught up or that falls"
                    " further behind.",
                    "s",
                    (
                        ratio(LEFT, f"-deriv({LEFT}[10m])") + " > 0",
                        "{{instance}} {{generation}}",
                    ),
                ),
                graph(
                    "Read and stopped",
                    "1 for the generation that is read; 1 for one that no longer follows the log.",
                    "short",
                    ("headrace_generation_live", "{{instance}} {{generation}} is read"),
                    ("headrace_generation_stopped", "{{instance}} {{generation}} stopped"),
                    top=1,
                ),
            ),
        ),
        (
            "Generations of a cluster",
            (
                graph(
                    "Behind",
                    "What each processor sees of its own generation: those of a new one come down to nothing.",
                    "short",
                    ("max by (instance) (headrace_views_behind_entries)", "{{instance}}"),
                    width=12,
                ),
                graph(
                    "Pace",
                    "Records that made rows, a second, by process.",
                    "cps",
                    (rate("headrace_views_projected_records_total", "instance"), "{{instance}}"),
                    width=12,
                ),
            ),
        ),
        (
            "Audit",
            (
                graph(
                    "Accounts audited",
                    "A second: rows computed anew from the log and compared.",
                    "cps",
                    (rate("headrace_audit_accounts_total", "instance"), "{{instance}}"),
                ),
                graph(
                    "Left out",
                    "Accounts too large for an audit, within a day.",
                    "short",
                    (f"sum by (instance) (increase(headrace_audit_too_large_accounts_total{DAY}))", "{{instance}}"),
                ),
                graph(
                    "Rows that differ",
                    "Found since the processes started. Expected: none, ever.",
                    "short",
                    ("sum by (instance) (headrace_audit_divergent_rows_total)", "{{instance}}"),
                    steps=ZERO,
                ),
            ),
        ),
    ),
)


def _never(title: str, description: str, expression: str) -> Panel:
    return stat(title, f"{description} Expected: zero.", "short", expression, ZERO, width=6)


INTEGRITY = Board(
    "integrity",
    "Integrity: expect zero",
    "What must never be. Every number is zero where all is well, and red where it is not; an empty one is not measured"
    " by what runs here.",
    (
        (
            "Data",
            (
                _never(
                    "Rows that differ",
                    "Rows of the views that are not what the log makes, found within a day.",
                    f"sum(increase(headrace_audit_divergent_rows_total{DAY}))",
                ),
                _never(
                    "Forked accounts",
                    "Writes that were answered and then refused by derive, within a day: an account has two writers.",
                    f"sum(increase(headrace_log_forked_entries_total{DAY}))",
                ),
                _never(
                    "Stopped generations",
                    "Generations that no longer follow the log.",
                    "sum(headrace_generation_stopped)",
                ),
                _never(
                    "Processes that do not follow",
                    "Those whose views do not follow the log.",
                    "sum(1 - headrace_views_ready)",
                ),
            ),
        ),
        (
            "Flow",
            (
                _never(
                    "Shards without progress",
                    "Shards of records, edges and fanout with entries that wait and a lane that saved nothing for ten"
                    " minutes.",
                    'count(max by (topic, shard) (headrace_waiting_entries{topic!="commits"}) > 0'
                    " and on (topic, shard) max by (topic, shard) (changes(headrace_lane_offset[10m])) == 0)"
                    " or 0 * sum(headrace_lane_taken_shards_total)",
                ),
                _never(
                    "Shards nobody has",
                    "Shards with entries that wait and no lane.",
                    'count(max by (topic, shard) (headrace_waiting_entries{topic!="commits"}) > 0'
                    " unless on (topic, shard) headrace_lane_offset) or 0 * sum(headrace_lane_taken_shards_total)",
                ),
                _never(
                    "Shards given up",
                    "Shards that were not closed in time, within a day.",
                    f"sum(increase(headrace_lane_given_up_shards_total{DAY}))",
                ),
                _never(
                    "Transaction open too long",
                    "Seconds over 60 that the oldest open transaction in commits has hidden what comes after it.",
                    "clamp_min(max(headrace_derive_open_transaction_seconds) - 60, 0)",
                ),
            ),
        ),
        (
            "Processes",
            (
                _never(
                    "Processes that do not answer",
                    "Those that Prometheus knows to be ours and cannot scrape.",
                    'count(up{job=~"$job",headrace_role!=""} == 0) or 0 * sum(headrace_build_info)',
                ),
                _never(
                    "Logs out of reach",
                    "Processes that cannot reach the broker.",
                    "sum(headrace_log_away)",
                ),
                _never(
                    "Unknown outcomes",
                    "Transactions whose outcome had to be read back, within a day.",
                    f"sum(increase(headrace_log_unknown_outcomes_total{DAY}))",
                ),
                _never(
                    "Accounts given up",
                    "Accounts that the relay leaves out of step after the last try, within a day.",
                    f"sum(increase(headrace_relay_given_up_resyncs_total{DAY}))",
                ),
                graph(
                    "Certificates",
                    "How long those that processes were started with still hold: more than two weeks.",
                    "s",
                    ("headrace_certificate_expiry_timestamp_seconds - time()", "{{instance}} {{setting}}"),
                    width=24,
                ),
            ),
        ),
        (
            "Refused by ourselves",
            (
                graph(
                    "What the verdict refused",
                    "Since the processes started, by reason; duplicates are harmless and left out.",
                    "short",
                    ('sum by (reason) (headrace_log_rejected_entries_total{reason!="duplicate"})', "PDS: {{reason}}"),
                    (
                        'sum by (reason) (headrace_derive_rejected_entries_total{reason!="duplicate"})',
                        "derive: {{reason}}",
                    ),
                    steps=ZERO,
                    width=12,
                ),
                graph(
                    "Versions that run",
                    "Processes by version: one line, but for the time of an upgrade.",
                    "short",
                    ("sum by (version) (headrace_build_info)", "{{version}}"),
                    width=12,
                ),
            ),
        ),
    ),
)

INTEGRITY_BOARDS = (REBUILD, INTEGRITY)
