"""Dashboards of what flows: processors and lag, views and store.

Does not own the river as a whole (`board_of_the_river.py`), ingest (`board_of_ingest.py`), what is asked and what must
never be
(`boards_requests.py`, `boards_integrity.py`).
"""

from __future__ import annotations

from tests.support.monitoring.board_of_the_river import BEHIND, WAITING
from tests.support.monitoring.panels import BAD, FRESH, WARNING, WINDOW, ZERO, Board, graph, quantile, rate, ratio

WITHIN = 'headrace_write_to_visible_seconds_bucket{le="5.0"}'

PROCESSORS = Board(
    "processors",
    "Processors and lag",
    "What derive and the lanes take, what waits for them, and who has which shard. Of a cluster, except for the lag.",
    (
        (
            "Lag",
            (
                graph(
                    "Waiting by topic",
                    "Entries that the next stage has not taken: derive of commits, lanes of the rest. To stay level.",
                    "short",
                    (f"sum by (topic) ({WAITING})", "{{topic}}"),
                    steps=BEHIND,
                ),
                graph(
                    "The shards that wait most",
                    "At most ten. One alone that grows is stuck, or has a very busy account.",
                    "short",
                    (f"topk(10, {WAITING} > 0)", "{{topic}}[{{shard}}]"),
                    steps=BEHIND,
                ),
                graph(
                    "Age by shard",
                    "How old the newest entry is that was taken of a shard of records with more to come; at most ten.",
                    "s",
                    ("topk(10, max by (shard) (headrace_views_age_seconds))", "records[{{shard}}]"),
                    steps=FRESH,
                ),
                graph(
                    "Entries behind",
                    "What each process sees of its own generation.",
                    "short",
                    ("max by (instance) (headrace_views_behind_entries)", "{{instance}}"),
                    steps=BEHIND,
                ),
                graph(
                    "Freshness",
                    "Of each process' own generation.",
                    "s",
                    ("max by (instance) (headrace_views_freshness_seconds)", "{{instance}}"),
                    steps=FRESH,
                ),
                graph(
                    "Ready",
                    "1 while the views of a process follow the log.",
                    "short",
                    ("min by (instance) (headrace_views_ready)", "{{instance}}"),
                    top=1,
                ),
                graph(
                    "Unseen",
                    "Since broker and store last told a processor of a cluster how far the log has flowed; above 15 s"
                    " what it shows of lag is older than it looks.",
                    "s",
                    ("max by (instance) (headrace_river_unseen_seconds)", "{{instance}}"),
                    steps=((15, WARNING), (30, BAD)),
                    width=24,
                ),
                graph(
                    "Writes until they show",
                    "From the log time of each entry until readers see it. Of one process; a cluster shows no such"
                    " line.",
                    "s",
                    (quantile(0.5, "headrace_write_to_visible_seconds"), "half"),
                    (quantile(0.9, "headrace_write_to_visible_seconds"), "90 of 100"),
                    (quantile(0.99, "headrace_write_to_visible_seconds"), "99 of 100"),
                    steps=FRESH,
                    width=12,
                ),
                graph(
                    "Writes that showed late",
                    "Share of entries that readers saw only after five seconds, the objective of freshness. Of one"
                    " process.",
                    "percentunit",
                    (
                        ratio(
                            f"({rate('headrace_write_to_visible_seconds_count')} - {rate(WITHIN)})",
                            rate("headrace_write_to_visible_seconds_count"),
                        ),
                        "later than 5 s",
                    ),
                    top=1,
                    width=12,
                ),
            ),
        ),
        (
            "Canary",
            (
                graph(
                    "A post until it shows",
                    "From sending a post of the canary to the AppView's answer that has it; in a cluster this is what"
                    " a person waits.",
                    "s",
                    (quantile(0.5, "headrace_canary_visible_seconds"), "half"),
                    (quantile(0.9, "headrace_canary_visible_seconds"), "90 of 100"),
                    (quantile(0.99, "headrace_canary_visible_seconds"), "99 of 100"),
                    steps=FRESH,
                ),
                graph(
                    "Posts that did not show",
                    "A second, by what became of them: given up, the views silent, or not taken by the PDS.",
                    "cps",
                    (
                        'sum by (result) (rate(headrace_canary_rounds_total{result!="shown"}[$__rate_interval]))',
                        "{{result}}",
                    ),
                    steps=ZERO,
                ),
                graph(
                    "Last seen",
                    "Since a canary last saw a post of its own; above 120 s somebody is woken.",
                    "s",
                    ("time() - max by (instance) (headrace_canary_shown_timestamp_seconds)", "{{instance}}"),
                    steps=((60, WARNING), (120, BAD)),
                ),
            ),
        ),
        (
            "Derive",
            (
                graph(
                    "Judged",
                    "Entries of commits and transactions a second.",
                    "cps",
                    (rate("headrace_derive_entries_total", "instance"), "{{instance}} entries"),
                    (rate("headrace_derive_transactions_total", "instance"), "{{instance}} transactions"),
                ),
                graph(
                    "Refused",
                    "By the verdict's reason.",
                    "cps",
                    (rate("headrace_derive_rejected_entries_total", "reason"), "{{reason}}"),
                ),
                graph(
                    "Oldest open transaction",
                    "What was written to commits after it began is seen by nobody. Above 60 s somebody died and was"
                    " not fenced.",
                    "s",
                    ("max(headrace_derive_open_transaction_seconds)", "oldest"),
                    steps=((15, WARNING), (60, BAD)),
                ),
            ),
        ),
        (
            "Lanes",
            (
                graph(
                    "Taken",
                    "Messages a second by topic.",
                    "cps",
                    (rate("headrace_lane_entries_total", "topic"), "{{topic}}"),
                    width=12,
                ),
                graph(
                    "How busy lanes are",
                    "Share of the time that a lane is at a batch, in the mean of a topic's shards. Near 1 it is as fast"
                    " as it can be, and what comes faster waits.",
                    "percentunit",
                    (
                        ratio(
                            rate("headrace_lane_busy_seconds_total", "topic"),
                            "sum by (topic) (headrace_lane_shards)",
                        ),
                        "{{topic}}",
                    ),
                    steps=((0.8, WARNING), (0.95, BAD)),
                    top=1,
                    width=12,
                ),
                graph(
                    "Shards of each process",
                    "They ought to be spread evenly; a topic's sum is the number of shards times that of generations.",
                    "short",
                    ("sum by (instance, topic) (headrace_lane_shards)", "{{instance}} {{topic}}"),
                    width=12,
                ),
                graph(
                    "Shards that change hands",
                    "Taken, and given up without being closed in time, an hour back. Given up means that a store or"
                    " a machine is too slow.",
                    "short",
                    ("sum by (instance) (increase(headrace_lane_taken_shards_total[1h]))", "{{instance}} taken"),
                    ("sum by (instance) (increase(headrace_lane_given_up_shards_total[1h]))", "{{instance}} given up"),
                    width=12,
                ),
            ),
        ),
    ),
)

VIEWS = Board(
    "views",
    "Views and store",
    "What the views take of the log and make rows of, what they leave out, and how store and volume bear it.",
    (
        (
            "Views",
            (
                graph(
                    "Records that made rows",
                    "A second, of all collections.",
                    "cps",
                    (rate("headrace_views_projected_records_total", "instance"), "{{instance}}"),
                ),
                graph(
                    "Entries and transactions",
                    "What one process takes; entries over transactions are the size of a batch.",
                    "cps",
                    (rate("headrace_views_entries_total", "instance"), "{{instance}} entries"),
                    (rate("headrace_views_batches_total", "instance"), "{{instance}} transactions"),
                ),
                graph(
                    "Records that are not valid",
                    "They stay in the log and make no rows; by reason, at most ten.",
                    "cps",
                    (f"topk(10, {rate('headrace_views_invalid_records_total', 'reason')})", "{{reason}}"),
                ),
            ),
        ),
        (
            "Store",
            (
                graph(
                    "Statements asked again",
                    "A second, since the store did not answer at once: its nodes are away or too slow.",
                    "cps",
                    (rate("headrace_store_repeated_statements_total", "instance"), "{{instance}}"),
                    steps=((0.1, WARNING), (1, BAD)),
                ),
                graph(
                    "Room left",
                    "Share of the data directory's volume that is free.",
                    "percentunit",
                    ("headrace_data_free_bytes / headrace_data_size_bytes", "{{instance}}"),
                    top=1,
                ),
                graph(
                    "Bytes left",
                    "On the data directory's volume.",
                    "bytes",
                    ("headrace_data_free_bytes", "{{instance}}"),
                ),
            ),
        ),
        (
            "Clients and queues",
            (
                graph(
                    "Broker: 99 of 100 answered within",
                    "By kind of request. Of fetch with what the broker holds back while there is no news, of group with"
                    " what it waits for other members.",
                    "s",
                    (quantile(0.99, "headrace_kafka_request_duration_seconds", "request"), "{{request}}"),
                ),
                graph(
                    "Broker: not answered",
                    "Requests a second without an answer: not connected, or not in time.",
                    "cps",
                    (rate("headrace_kafka_failed_requests_total", "instance, request"), "{{instance}} {{request}}"),
                    steps=((0.1, BAD),),
                ),
                graph(
                    "Bounded queues",
                    "Share of what may wait; at the top whoever comes next waits, or is refused.",
                    "percentunit",
                    ("headrace_queue_entries / headrace_queue_limit_entries", "{{instance}} {{queue}}"),
                    ("headrace_queue_bytes / headrace_queue_limit_bytes", "{{instance}} {{queue}}, bytes"),
                    steps=((0.5, WARNING), (0.9, BAD)),
                    top=1,
                ),
                graph(
                    "Store: 99 of 100 answered within",
                    "Requests of one or many statements, until all are answered.",
                    "s",
                    (
                        quantile(0.99, "headrace_store_request_duration_seconds", "instance, access"),
                        "{{instance}} {{access}}",
                    ),
                ),
                graph(
                    "Store: under way",
                    "Requests that are not answered yet.",
                    "short",
                    ("sum by (instance, access) (headrace_store_requests_under_way)", "{{instance}} {{access}}"),
                ),
                graph(
                    "Store: not answered",
                    "Requests a second that were given up after being asked again, or refused.",
                    "cps",
                    (rate("headrace_store_failed_requests_total", "instance, access"), "{{instance}} {{access}}"),
                    steps=((0.1, BAD),),
                ),
                graph(
                    "Commits of one process' views",
                    "Time until a transaction of the views is made, where they are one file.",
                    "s",
                    (quantile(0.5, "headrace_views_commit_duration_seconds"), "half"),
                    (quantile(0.99, "headrace_views_commit_duration_seconds"), "99 of 100"),
                ),
                graph(
                    "Fetches of identities",
                    "From strangers' servers: did:web documents and handles, redirects included.",
                    "s",
                    (quantile(0.5, "headrace_identity_fetch_duration_seconds"), "half"),
                    (quantile(0.99, "headrace_identity_fetch_duration_seconds"), "99 of 100"),
                ),
                graph(
                    "Fetches that brought nothing",
                    "A second: servers that are unreachable, forbidden, slow or answer with too much.",
                    "cps",
                    (rate("headrace_identity_failed_fetches_total", "instance"), "{{instance}}"),
                ),
            ),
        ),
        (
            "Processes",
            (
                graph(
                    "CPU",
                    "Cores in use by each process.",
                    "short",
                    (
                        f"rate(process_cpu_seconds_total{WINDOW}) and on (instance) headrace_build_info",
                        "{{instance}}",
                    ),
                ),
                graph(
                    "Memory",
                    "Resident, of each process.",
                    "bytes",
                    ("process_resident_memory_bytes and on (instance) headrace_build_info", "{{instance}}"),
                ),
                graph(
                    "Open files",
                    "Share of the limit; above 80 % connections will soon be refused.",
                    "percentunit",
                    ("process_open_fds / process_max_fds and on (instance) headrace_build_info", "{{instance}}"),
                    steps=((0.6, WARNING), (0.8, BAD)),
                    top=1,
                ),
            ),
        ),
    ),
)

FLOW_BOARDS = (PROCESSORS, VIEWS)
