"""The dashboard of ingest and relay: what comes from other hosts, upstream relays and archives.

Does not own what becomes of it in the log and the views (`boards_flow.py`).
"""

from __future__ import annotations

from tests.support.monitoring.panels import BAD, WARNING, Board, graph, rate, ratio

INGEST = Board(
    "ingest",
    "Ingest and relay",
    "What is read of other hosts, upstream relays and archives, what of it does not hold, and how accounts catch up.",
    (
        (
            "Taken",
            (
                graph(
                    "Messages of hosts",
                    "A second, by what they led to.",
                    "cps",
                    (rate("headrace_relay_messages_total", "kind"), "{{kind}}"),
                ),
                graph(
                    "Into the log",
                    "Entries a second, by where they came from.",
                    "cps",
                    (rate("headrace_ingest_accepted_entries_total", "source"), "{{source}}"),
                ),
                graph(
                    "Hosts",
                    "By state. Many offline at once are this machine's network.",
                    "short",
                    ("sum by (state) (headrace_relay_hosts)", "{{state}}"),
                ),
            ),
        ),
        (
            "Left out",
            (
                graph(
                    "Dropped by the relay",
                    "Messages and connections that did not hold, by source and reason; at most ten.",
                    "cps",
                    (f"topk(10, {rate('headrace_relay_dropped_total', 'source, reason')})", "{{source}}: {{reason}}"),
                ),
                graph(
                    "Not taken into the log",
                    "Entries that were brought and refused, by source and reason; at most ten.",
                    "cps",
                    (
                        f"topk(10, {rate('headrace_ingest_refused_entries_total', 'source, reason')})",
                        "{{source}}: {{reason}}",
                    ),
                ),
                graph(
                    "Share that is dropped",
                    "Of all messages of a kind of source. Over a tenth for long is an alert.",
                    "percentunit",
                    (
                        ratio(
                            rate("headrace_relay_dropped_total", "source"),
                            f"({rate('headrace_relay_messages_total', 'source')}"
                            f" + {rate('headrace_relay_dropped_total', 'source')})",
                        ),
                        "{{source}}",
                    ),
                    steps=((0.02, WARNING), (0.1, BAD)),
                    top=1,
                ),
            ),
        ),
        (
            "Catching up",
            (
                graph(
                    "Accounts",
                    "Those seen of hosts, and those whose repo is to be fetched.",
                    "short",
                    ("sum(headrace_relay_accounts)", "seen"),
                    ("sum(headrace_relay_desynchronized_accounts)", "out of step"),
                ),
                graph(
                    "Repos fetched",
                    "An hour back: caught up, failed by reason, and given up after the last try.",
                    "short",
                    ("sum(increase(headrace_relay_resyncs_total[1h]))", "caught up"),
                    ("sum(increase(headrace_relay_given_up_resyncs_total[1h]))", "given up"),
                    (
                        "topk(8, sum by (reason) (increase(headrace_relay_failed_fetches_total[1h])))",
                        "failed: {{reason}}",
                    ),
                ),
                graph(
                    "Held",
                    "Bytes of messages held until their account has caught up.",
                    "bytes",
                    ("sum(headrace_relay_held_bytes)", "held"),
                ),
            ),
        ),
        (
            "Who it is",
            (
                graph(
                    "The did:plc directory",
                    "Questions a second, with those not sent as it fails; requests it is given at once; 1 while asked.",
                    "short",
                    (rate("headrace_identity_directory_requests_total", "asked"), "{{asked}} a second"),
                    ("min(headrace_identity_directory_limit_requests)", "at once"),
                    ('min(headrace_identity_directory_state{breaker="closed"})', "asked"),
                ),
                graph(
                    "Waiting to be known",
                    "Accounts and messages that wait until it can be told who they are.",
                    "short",
                    ("sum(headrace_relay_unresolved_accounts)", "accounts"),
                    ("sum(headrace_relay_unresolved_messages)", "messages"),
                    ("sum(increase(headrace_relay_given_up_unresolved_total[1h]))", "accounts given up, an hour"),
                ),
                graph(
                    "Kept on disk",
                    "DID documents; those that the disk knew and those that made room, a second.",
                    "short",
                    ("sum(headrace_identity_disk_rows)", "kept"),
                    (rate("headrace_identity_disk_hits_total"), "known a second"),
                    (rate("headrace_identity_disk_evictions_total"), "made room a second"),
                ),
                graph(
                    "The mirror's lag",
                    "Behind the directory; over plc_mirror_lag the directory is asked instead.",
                    "s",
                    ("max(headrace_plc_mirror_lag_seconds)", "lag"),
                ),
                graph(
                    "The mirror's work",
                    "Operations a second taken and refused, pages that could not be had, documents given.",
                    "cps",
                    (rate("headrace_plc_mirror_taken_operations_total"), "taken"),
                    (rate("headrace_plc_mirror_refused_operations_total", "reason"), "refused: {{reason}}"),
                    (rate("headrace_plc_mirror_failed_requests_total", "reason"), "no page: {{reason}}"),
                    (rate("headrace_plc_mirror_hits_total"), "documents"),
                ),
                graph("DIDs in the mirror", "All that are known.", "short", ("max(headrace_plc_mirror_dids)", "DIDs")),
            ),
        ),
        (
            "A cluster's log, backfills, the tee",
            (
                graph(
                    "Not judged yet",
                    "Entries of a cluster's relay that derive has not judged; at the bound the relay waits for derive.",
                    "short",
                    ("sum by (instance) (headrace_relay_undecided_entries)", "{{instance}}"),
                ),
                graph(
                    "Taken back",
                    "An hour back: accounts that derive left below what the relay sent, entries sent anew as nobody"
                    " could tell, numberings of hosts that began anew.",
                    "short",
                    ("sum(increase(headrace_relay_refused_accounts_total[1h]))", "accounts refused"),
                    ("sum(increase(headrace_relay_repeated_entries_total[1h]))", "entries sent anew"),
                    (
                        "sum by (source) (increase(headrace_relay_restarted_numberings_total[1h]))",
                        "numbered anew: {{source}}",
                    ),
                ),
                graph(
                    "Backfills: to be done",
                    "Accounts that backfills know and have not done.",
                    "short",
                    ("sum by (instance) (headrace_relay_backfill_waiting_accounts)", "{{instance}}"),
                ),
                graph(
                    "Backfills: done",
                    "Accounts a second by what became of them, and those that could not be had; at most eight reasons.",
                    "cps",
                    (rate("headrace_relay_backfill_accounts_total", "became"), "{{became}}"),
                    (
                        f"topk(8, {rate('headrace_relay_backfill_failed_accounts_total', 'reason')})",
                        "failed: {{reason}}",
                    ),
                ),
                graph(
                    "The tee's frames",
                    "A second: put into archives, passed over as they are there, and accounts without a document.",
                    "cps",
                    (rate("headrace_relay_teed_frames_total"), "kept"),
                    (rate("headrace_relay_tee_repeated_frames_total"), "there already"),
                    (rate("headrace_relay_tee_undocumented_total"), "without a document"),
                ),
                graph(
                    "The tee's disk",
                    "Bytes that wait for it. At 32 MiB hosts' streams wait too.",
                    "bytes",
                    ("sum by (instance) (headrace_relay_tee_waiting_bytes)", "{{instance}}"),
                ),
            ),
        ),
        (
            "Cost",
            (
                graph(
                    "Verification",
                    "What the verdict on one commit is waited for.",
                    "s",
                    (
                        ratio(rate("headrace_relay_verify_seconds_total"), rate("headrace_relay_verified_total")),
                        "one commit",
                    ),
                ),
                graph(
                    "Under way",
                    "Messages read and not yet in the log or refused.",
                    "short",
                    ("sum by (source) (headrace_relay_under_way_messages)", "{{source}}"),
                ),
                graph(
                    "Readers",
                    "Subscribers of the firehose and of /subscribe, and what is sent to them a second.",
                    "short",
                    ("sum(headrace_firehose_subscribers)", "firehose subscribers"),
                    ("sum(headrace_jetstream_subscribers)", "/subscribe subscribers"),
                    (rate("headrace_firehose_frames_total"), "frames a second"),
                    (rate("headrace_jetstream_lines_total"), "lines a second"),
                ),
            ),
        ),
    ),
)
