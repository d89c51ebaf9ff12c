"""Every alert that is no burn rate: its expression, and series that make it fire and leave it quiet.

`fires` and `quiet` are series in promtool's notation, a sample a minute. Does not own the objectives
(`objectives.py`) nor what an alert means to who is woken (docs/runbooks).
"""

from __future__ import annotations

from typing import NamedTuple

PAGE, TICKET = "page", "ticket"

Series = dict[str, str]


class Alert(NamedTuple):
    """`wait` is for how long the expression has to hold; `at` is when promtool looks."""

    name: str
    severity: str
    wait: str
    expression: str
    summary: str
    description: str
    fires: Series
    quiet: Series
    at: str = "1h"


_ENDS = 'headrace_certificate_expiry_timestamp_seconds{instance="i",setting="kafka_ssl_cert"}'
_UP = 'up{job="a",instance="i",headrace_role="pds"}'
_ONE = '{instance="i"}'

PROCESSES = (
    Alert(
        "HeadraceAbsent",
        PAGE,
        "5m",
        "absent(headrace_build_info)",
        "Nothing of Headrace is scraped",
        "No process shows headrace_build_info: all are gone, or Prometheus no longer finds them.",
        {"up": "1x60"},
        {'headrace_build_info{version="1"}': "1x60"},
    ),
    Alert(
        "HeadraceProcessDown",
        PAGE,
        "2m",
        'up{headrace_role!=""} == 0',
        "{{ $labels.headrace_role }} {{ $labels.instance }} does not answer",
        "The ops listener of a process has not answered for two minutes.",
        {_UP: "1x30 0x30"},
        {_UP: "1x60", 'up{job="other"}': "0x60"},
    ),
    Alert(
        "HeadraceRestarts",
        TICKET,
        "0m",
        "changes(process_start_time_seconds[30m]) > 3 and on (instance) headrace_build_info",
        "{{ $labels.instance }} starts again and again",
        "{{ $value }} starts within 30 minutes: a part fails each time, or memory runs out.",
        {f"process_start_time_seconds{_ONE}": "1+1x60", 'headrace_build_info{instance="i",version="1"}': "1x60"},
        {
            f"process_start_time_seconds{_ONE}": "1x59 2",
            'process_start_time_seconds{instance="other"}': "1+1x60",
            'headrace_build_info{instance="i",version="1"}': "1x60",
        },
    ),
    Alert(
        "HeadraceFilesRunOut",
        TICKET,
        "10m",
        "process_open_fds / process_max_fds > 0.8 and on (instance) headrace_build_info",
        "{{ $labels.instance }} has nearly all the files open that it may",
        "Over 80 % of the limit of open files; above it connections are refused.",
        {
            f"process_open_fds{_ONE}": "900x60",
            f"process_max_fds{_ONE}": "1000x60",
            'headrace_build_info{instance="i",version="1"}': "1x60",
        },
        {
            f"process_open_fds{_ONE}": "700x60",
            f"process_max_fds{_ONE}": "1000x60",
            'headrace_build_info{instance="i",version="1"}': "1x60",
        },
    ),
    Alert(
        "HeadraceDiskFills",
        PAGE,
        "10m",
        "headrace_data_free_bytes / headrace_data_size_bytes < 0.1"
        " or headrace_data_free_bytes / headrace_data_size_bytes < 0.5"
        " and predict_linear(headrace_data_free_bytes[6h], 86400) < 0",
        "The volume of {{ $labels.instance }} fills",
        "Less than a tenth is left, or less than half and at the pace of six hours nothing will be within a day.",
        {f"headrace_data_free_bytes{_ONE}": "900-10x60", f"headrace_data_size_bytes{_ONE}": "1000x60"},
        {f"headrace_data_free_bytes{_ONE}": "500+0x60", f"headrace_data_size_bytes{_ONE}": "1000x60"},
    ),
    Alert(
        "HeadraceCertificateEnds",
        TICKET,
        "0m",
        "headrace_certificate_expiry_timestamp_seconds - time() < 14 * 86400",
        "{{ $labels.setting }} of {{ $labels.instance }} ends",
        "The certificate that the process was started with ends in {{ $value | humanizeDuration }}.",
        {_ENDS: f"{14 * 86_400 + 3_500}x60"},  # promtool's clock begins at 0
        {_ENDS: f"{14 * 86_400 + 3_700}x60"},
    ),
)

FLOW = (
    Alert(
        "HeadraceViewsNotReady",
        PAGE,
        "10m",
        "headrace_views_ready == 0",
        "{{ $labels.instance }} does not follow the log",
        "The views of this process have not followed the log for ten minutes.",
        {f"headrace_views_ready{_ONE}": "0x60"},
        {f"headrace_views_ready{_ONE}": "1x55 0x5"},
    ),
    Alert(
        "HeadraceShardStuck",
        PAGE,
        "5m",
        'max by (topic, shard) (headrace_waiting_entries{topic!="commits"}) > 0'
        " and on (topic, shard) max by (topic, shard) (changes(headrace_lane_offset[10m])) == 0",
        "{{ $labels.topic }}[{{ $labels.shard }}] does not move",
        "Entries wait for a shard whose lane has saved nothing for ten minutes.",
        {
            'headrace_waiting_entries{topic="records",shard="0"}': "7x60",
            'headrace_lane_offset{topic="records",shard="0"}': "100x60",
        },
        {
            'headrace_waiting_entries{topic="records",shard="0"}': "7x60",
            'headrace_lane_offset{topic="records",shard="0"}': "100+1x60",
            'headrace_waiting_entries{topic="edges",shard="0"}': "0x60",
            'headrace_lane_offset{topic="edges",shard="0"}': "9x60",
        },
    ),
    Alert(
        "HeadraceShardWithoutLane",
        PAGE,
        "5m",
        'max by (topic, shard) (headrace_waiting_entries{topic!="commits"}) > 0'
        " unless on (topic, shard) headrace_lane_offset",
        "Nobody has {{ $labels.topic }}[{{ $labels.shard }}]",
        "Entries wait for a shard that no processor has taken.",
        {'headrace_waiting_entries{topic="records",shard="3"}': "7x60"},
        {
            'headrace_waiting_entries{topic="records",shard="3"}': "7x60",
            'headrace_lane_offset{topic="records",shard="3"}': "1+1x60",
        },
    ),
    Alert(
        "HeadraceDeriveStuck",
        PAGE,
        "5m",
        'max by (shard) (headrace_waiting_entries{topic="commits"}) > 0'
        " unless on (shard) max by (shard) (changes(headrace_derive_place_offset[10m])) > 0",
        "commits[{{ $labels.shard }}] is not derived",
        "Commits wait and derive has not moved for ten minutes, or nobody has the shard.",
        {
            'headrace_waiting_entries{topic="commits",shard="0"}': "7x60",
            'headrace_derive_place_offset{shard="0"}': "100x60",
        },
        {
            'headrace_waiting_entries{topic="commits",shard="0"}': "7x60",
            'headrace_derive_place_offset{shard="0"}': "100+1x60",
        },
    ),
    Alert(
        "HeadraceRiverUnseen",
        PAGE,
        "1m",
        "min(headrace_river_unseen_seconds) > 30",
        "No processor can see how far the log has flowed",
        "Broker or store have not answered any processor for {{ $value }} s: what lag and freshness say is older.",
        {f"headrace_river_unseen_seconds{_ONE}": "0+60x60"},
        {f"headrace_river_unseen_seconds{_ONE}": "0+60x60", 'headrace_river_unseen_seconds{instance="j"}': "4x60"},
    ),
    Alert(
        "HeadraceProcessorsAbsent",
        PAGE,
        "5m",
        "absent(headrace_views_ready) and on () count(headrace_derive_transactions_total) > 0",
        "Nobody makes views of the log",
        "Derive runs and no processor is scraped: what is written does not show, and nothing tells how late it is.",
        {f"headrace_derive_transactions_total{_ONE}": "1x60"},
        {
            f"headrace_derive_transactions_total{_ONE}": "1x60",
            'headrace_views_ready{instance="j"}': "1x60",
        },
    ),
    Alert(
        "HeadraceCanaryUnseen",
        PAGE,
        "1m",
        "time() - headrace_canary_shown_timestamp_seconds > 120",
        "Nothing that the canary {{ $labels.instance }} writes shows",
        "It last saw a post of its own {{ $value | humanizeDuration }} ago; it posts every few seconds.",
        {f"headrace_canary_shown_timestamp_seconds{_ONE}": "0+60x50 3000x10"},
        {f"headrace_canary_shown_timestamp_seconds{_ONE}": "0+60x60"},
    ),
    Alert(
        "HeadraceCanaryLate",
        TICKET,
        "10m",
        '1 - sum by (instance) (rate(headrace_canary_visible_seconds_bucket{le="5.0"}[30m]))'
        " / sum by (instance) (rate(headrace_canary_rounds_total[30m])) > 0.1",
        "What the canary {{ $labels.instance }} writes shows late",
        "Of its posts {{ $value | humanizePercentage }} showed after more than 5 s, or not at all.",
        {
            'headrace_canary_visible_seconds_bucket{instance="i",le="5.0"}': "0+3x60",
            'headrace_canary_rounds_total{instance="i",result="shown"}': "0+4x60",
        },
        {
            'headrace_canary_visible_seconds_bucket{instance="i",le="5.0"}': "0+4x60",
            'headrace_canary_rounds_total{instance="i",result="shown"}': "0+4x60",
        },
    ),
    Alert(
        "HeadraceLagGrows",
        TICKET,
        "15m",
        "min(min_over_time(headrace_views_behind_entries[5m])) > 1000"
        " and min(deriv(headrace_views_behind_entries[15m])) > 0",
        "The views fall behind: {{ $value }} entries",
        "More comes than the views take, for a quarter of an hour.",
        {f"headrace_views_behind_entries{_ONE}": "2000+100x60"},
        {f"headrace_views_behind_entries{_ONE}": "90000-100x60"},
    ),
    Alert(
        "HeadraceTransactionOpen",
        PAGE,
        "1m",
        "max(headrace_derive_open_transaction_seconds) > 60",
        "A transaction in commits has been open for {{ $value }} s",
        "The last stable offset does not advance: what was written after the transaction began is seen by nobody.",
        {f"headrace_derive_open_transaction_seconds{_ONE}": "0+60x60"},
        {f"headrace_derive_open_transaction_seconds{_ONE}": "9x60"},
    ),
    Alert(
        "HeadraceShardsGivenUp",
        TICKET,
        "0m",
        "increase(headrace_lane_given_up_shards_total[30m]) > 0",
        "{{ $labels.instance }} gave shards up without closing them",
        "Its lanes did not end in time when others took their shards over: the store or the machine is too slow.",
        {f"headrace_lane_given_up_shards_total{_ONE}": "0x45 2x15"},
        {f"headrace_lane_given_up_shards_total{_ONE}": "2x60"},
    ),
    Alert(
        "HeadraceReadersCutOff",
        TICKET,
        "0m",
        'sum by (reason) (increase(headrace_firehose_cut_subscribers_total{reason=~"too_slow|stalled"}[30m])) > 20',
        "Subscribers of the firehose cannot keep up ({{ $labels.reason }})",
        "More than 20 subscribers were cut off within half an hour.",
        {'headrace_firehose_cut_subscribers_total{reason="too_slow"}': "0+2x60"},
        {'headrace_firehose_cut_subscribers_total{reason="shutdown"}': "0+2x60"},
    ),
    Alert(
        "HeadraceOwnWritesUnseen",
        TICKET,
        "10m",
        "sum(rate(headrace_read_your_writes_timeouts_total[10m])) > 0.1",
        "Writers do not see what they have just written",
        "Reads are answered before the views hold the viewer's own last write, {{ $value }} a second.",
        {f"headrace_read_your_writes_timeouts_total{_ONE}": "0+30x60"},
        {f"headrace_read_your_writes_timeouts_total{_ONE}": "0+1x60"},
    ),
    Alert(
        "HeadraceShedsMuch",
        PAGE,
        "5m",
        'sum by (instance, kind) (rate(headrace_xrpc_shed_requests_total{reason!="left"}[5m]))'
        " / on (instance) group_left () sum by (instance) (rate(headrace_xrpc_requests_total[5m])) > 0.05",
        "{{ $labels.instance }} turns requests away ({{ $labels.kind }})",
        "The share of requests that are answered 503 as too many wait is {{ $value }}, for five minutes.",
        {
            'headrace_xrpc_shed_requests_total{instance="i",kind="views",reason="full"}': "0+600x60",
            'headrace_xrpc_requests_total{instance="i",nsid="a",status="200"}': "0+6000x60",
        },
        {
            'headrace_xrpc_shed_requests_total{instance="i",kind="views",reason="late"}': "0+60x60",
            'headrace_xrpc_shed_requests_total{instance="i",kind="views",reason="left"}': "0+6000x60",
            'headrace_xrpc_requests_total{instance="i",nsid="a",status="200"}': "0+6000x60",
        },
    ),
    Alert(
        "HeadraceAnswersDegraded",
        TICKET,
        "15m",
        "sum by (part) (rate(headrace_degraded_answers_total[10m])) > 0.1",
        "Answers go without {{ $labels.part }}",
        "{{ $value }} answers a second, for a quarter of an hour: the store does not bring that part in time.",
        {'headrace_degraded_answers_total{instance="i",part="counts"}': "0+60x60"},
        {'headrace_degraded_answers_total{instance="i",part="counts"}': "0x45 600x14"},
    ),
)

INTEGRITY = (
    Alert(
        "HeadraceRowsDiverge",
        PAGE,
        "0m",
        "sum by (instance) (increase(headrace_audit_divergent_rows_total[1h])) > 0",
        "Rows of the views are not what the log makes",
        "The auditor of {{ $labels.instance }} found rows that differ within the last hour. Expected: none, ever.",
        {f"headrace_audit_divergent_rows_total{_ONE}": "0x40 1x20"},
        {f"headrace_audit_divergent_rows_total{_ONE}": "1x90"},
        at="80m",
    ),
    Alert(
        "HeadraceAccountForked",
        PAGE,
        "0m",
        "increase(headrace_log_forked_entries_total[1h]) > 0",
        "A write that was answered is refused by derive",
        "An account has two writers: two PDSes, or one whose files are older than the log.",
        {f"headrace_log_forked_entries_total{_ONE}": "0x40 1x20"},
        {f"headrace_log_forked_entries_total{_ONE}": "1x90"},
        at="80m",
    ),
    Alert(
        "HeadraceGenerationStopped",
        TICKET,
        "1m",
        "headrace_generation_stopped == 1",
        "The generation {{ $labels.generation }} no longer follows the log",
        "A projection raised, or its file cannot be used.",
        {'headrace_generation_stopped{generation="g2"}': "1x60"},
        {'headrace_generation_stopped{generation="g2"}': "0x60"},
    ),
    Alert(
        "HeadraceRebuildStuck",
        TICKET,
        "30m",
        "headrace_generation_behind_entries > 0 and on (instance, generation) headrace_generation_live == 0"
        " and on (instance, generation) changes(headrace_generation_behind_entries[15m]) == 0",
        "The generation {{ $labels.generation }} is not being built any further",
        "It is {{ $value }} entries behind, and has been exactly so for more than a quarter of an hour.",
        {
            'headrace_generation_behind_entries{instance="i",generation="g2"}': "500x60",
            'headrace_generation_live{instance="i",generation="g2"}': "0x60",
        },
        {
            'headrace_generation_behind_entries{instance="i",generation="g2"}': "9000-10x60",
            'headrace_generation_live{instance="i",generation="g2"}': "0x60",
        },
    ),
)

CLIENTS = (
    Alert(
        "HeadraceLogAway",
        PAGE,
        "1m",
        "headrace_log_away == 1",
        "{{ $labels.instance }} cannot reach the broker and refuses writes",
        "The PDS answers writes with 503 until the broker is back.",
        {f"headrace_log_away{_ONE}": "1x60"},
        {f"headrace_log_away{_ONE}": "0x60"},
    ),
    Alert(
        "HeadraceLogSlow",
        TICKET,
        "10m",
        "histogram_quantile(0.99, sum by (instance, le)"
        " (rate(headrace_log_commit_duration_seconds_bucket[10m]))) > 0.25",
        "The log of {{ $labels.instance }} takes {{ $value }} s to be durable",
        "One commit in a hundred takes more than 250 ms: the disk, or the brokers' copies.",
        {
            'headrace_log_commit_duration_seconds_bucket{instance="i",le="0.25"}': "0+50x60",
            'headrace_log_commit_duration_seconds_bucket{instance="i",le="1.0"}': "0+100x60",
            'headrace_log_commit_duration_seconds_bucket{instance="i",le="+Inf"}': "0+100x60",
        },
        {
            'headrace_log_commit_duration_seconds_bucket{instance="i",le="0.25"}': "0+100x60",
            'headrace_log_commit_duration_seconds_bucket{instance="i",le="1.0"}': "0+100x60",
            'headrace_log_commit_duration_seconds_bucket{instance="i",le="+Inf"}': "0+100x60",
        },
    ),
    Alert(
        "HeadraceOutcomesUnknown",
        TICKET,
        "0m",
        "increase(headrace_log_unknown_outcomes_total[30m]) > 3",
        "{{ $labels.instance }} is often not told what became of its transactions",
        "The broker went away in the middle of commits; writers were answered 503.",
        {f"headrace_log_unknown_outcomes_total{_ONE}": "0+1x60"},
        {f"headrace_log_unknown_outcomes_total{_ONE}": "2x60"},
    ),
    Alert(
        "HeadraceBrokerFails",
        TICKET,
        "5m",
        "sum by (instance) (rate(headrace_kafka_failed_requests_total[5m])) > 0.1",
        "The broker does not answer {{ $labels.instance }}",
        "{{ $value }} requests a second end without an answer: brokers are away, unreachable or too slow.",
        {'headrace_kafka_failed_requests_total{instance="i",request="fetch"}': "0+12x60"},
        {'headrace_kafka_failed_requests_total{instance="i",request="fetch"}': "0+3x60"},
    ),
    Alert(
        "HeadraceStoreFails",
        TICKET,
        "5m",
        "sum by (instance) (rate(headrace_store_failed_requests_total[5m])) > 0.1",
        "The store does not do what {{ $labels.instance }} asks",
        "{{ $value }} requests a second are given up, each after it was asked again and again.",
        {'headrace_store_failed_requests_total{instance="i",access="read"}': "0+12x60"},
        {'headrace_store_failed_requests_total{instance="i",access="read"}': "0+3x60"},
    ),
    Alert(
        "HeadraceStoreRepeats",
        TICKET,
        "10m",
        "sum by (instance) (rate(headrace_store_repeated_statements_total[5m])) > 1",
        "The store does not answer {{ $labels.instance }} at once",
        "{{ $value }} statements a second are asked again: nodes of the store are away or too slow.",
        {f"headrace_store_repeated_statements_total{_ONE}": "0+120x60"},
        {f"headrace_store_repeated_statements_total{_ONE}": "0+6x60"},
    ),
)

NETWORK = (
    Alert(
        "HeadraceLogRefuses",
        TICKET,
        "15m",
        'sum by (reason) (rate(headrace_log_rejected_entries_total{reason!="duplicate"}[15m])) > 0.1',
        "The verdict refuses entries: {{ $labels.reason }}",
        "What was built or verified here does not follow the account's head, {{ $value }} a second.",
        {'headrace_log_rejected_entries_total{reason="prev_data_mismatch"}': "0+60x60"},
        {
            'headrace_log_rejected_entries_total{reason="prev_data_mismatch"}': "0+1x60",
            'headrace_log_rejected_entries_total{reason="duplicate"}': "0+60x60",
        },
    ),
    Alert(
        "HeadraceRelayDropsMuch",
        TICKET,
        "15m",
        "sum by (source) (rate(headrace_relay_dropped_total[15m]))"
        " / (sum by (source) (rate(headrace_relay_messages_total[15m]))"
        " + sum by (source) (rate(headrace_relay_dropped_total[15m]))) > 0.1",
        "Of what {{ $labels.source }}s send more than a tenth does not hold",
        "The share of what is dropped is {{ $value }}; the reason says whose fault it is.",
        {
            'headrace_relay_dropped_total{source="host",reason="signature"}': "0+30x60",
            'headrace_relay_messages_total{source="host",kind="commit"}': "0+60x60",
        },
        {
            'headrace_relay_dropped_total{source="host",reason="signature"}': "0+1x60",
            'headrace_relay_messages_total{source="host",kind="commit"}': "0+60x60",
        },
    ),
    Alert(
        "HeadraceRelayNumbersAnew",
        TICKET,
        "0m",
        "sum by (instance, source) (increase(headrace_relay_restarted_numberings_total[1h])) > 0",
        "The numbers of a {{ $labels.source }} have begun anew below the cursor of {{ $labels.instance }}",
        "It is read from its oldest. Its operator may have restored a backup, and what came after that is gone there.",
        {'headrace_relay_restarted_numberings_total{instance="i",source="host"}': "0x20 1x40"},
        {'headrace_relay_restarted_numberings_total{instance="i",source="host"}': "3x60"},
    ),
    Alert(
        "HeadraceRelaySilent",
        PAGE,
        "10m",
        "sum by (instance) (rate(headrace_relay_messages_total[10m])) == 0"
        ' and on (instance) headrace_relay_hosts{state="active"} > 0',
        "The relay {{ $labels.instance }} takes nothing in",
        "Hosts are connected and nothing of theirs has come into the log for ten minutes.",
        {
            'headrace_relay_messages_total{instance="i",source="host",kind="commit"}': "500x60",
            'headrace_relay_hosts{instance="i",state="active"}': "12x60",
        },
        {
            'headrace_relay_messages_total{instance="i",source="host",kind="commit"}': "0+1x60",
            'headrace_relay_hosts{instance="i",state="active"}': "12x60",
        },
    ),
    Alert(
        "HeadraceTeeStopped",
        PAGE,
        "5m",
        "headrace_relay_tee_waiting_bytes > 0 and rate(headrace_relay_teed_frames_total[10m])"
        " + rate(headrace_relay_tee_repeated_frames_total[10m]) == 0",
        "The tee of {{ $labels.instance }} writes nothing",
        "{{ $value }} bytes wait for the archives' disk, which has taken nothing for ten minutes.",
        {
            f"headrace_relay_tee_waiting_bytes{_ONE}": "4096x60",
            f"headrace_relay_teed_frames_total{_ONE}": "100x60",
            f"headrace_relay_tee_repeated_frames_total{_ONE}": "7x60",
        },
        {
            f"headrace_relay_tee_waiting_bytes{_ONE}": "4096x60",
            f"headrace_relay_teed_frames_total{_ONE}": "100x60",
            f"headrace_relay_tee_repeated_frames_total{_ONE}": "0+7x60",
        },
    ),
    Alert(
        "HeadraceRelayHostsOffline",
        TICKET,
        "15m",
        'sum by (instance) (headrace_relay_hosts{state="offline"})'
        ' / sum by (instance) (headrace_relay_hosts{state!="banned"}) > 0.3',
        "Much of the network is out of reach for {{ $labels.instance }}",
        "The share of hosts that are offline is {{ $value }}: many at once is this machine's network.",
        {
            'headrace_relay_hosts{instance="i",state="offline"}': "5x60",
            'headrace_relay_hosts{instance="i",state="active"}': "5x60",
        },
        {
            'headrace_relay_hosts{instance="i",state="offline"}': "1x60",
            'headrace_relay_hosts{instance="i",state="active"}': "9x60",
        },
    ),
    Alert(
        "HeadraceRelayGivesUp",
        TICKET,
        "0m",
        "sum by (instance) (increase(headrace_relay_given_up_resyncs_total[1h])) > 10",
        "{{ $labels.instance }} leaves accounts out of step",
        "More than ten repos an hour could not be fetched after the last try.",
        {'headrace_relay_given_up_resyncs_total{instance="i"}': "0+1x60"},
        {'headrace_relay_given_up_resyncs_total{instance="i"}': "0x55 1x5"},
    ),
    Alert(
        "HeadraceDirectoryFails",
        TICKET,
        "10m",
        'avg_over_time(headrace_identity_directory_state{breaker="closed"}[10m]) < 0.5',
        "The did:plc directory fails {{ $labels.instance }}",
        "Most of the last ten minutes it was not asked, as it fails: who is not known has to wait.",
        {'headrace_identity_directory_state{instance="i",breaker="closed"}': "1x5 0x60"},
        {'headrace_identity_directory_state{instance="i",breaker="closed"}': "1 1 1 0 1 1 1 1 0 1x60"},
    ),
    Alert(
        "HeadraceMirrorBehind",
        TICKET,
        "30m",
        "headrace_plc_mirror_lag_seconds > 600 and delta(headrace_plc_mirror_lag_seconds[15m]) >= 0",
        "The mirror of the did:plc directory in {{ $labels.instance }} falls behind",
        "It is {{ $value }} seconds behind and not catching up: DIDs are asked of the directory.",
        {'headrace_plc_mirror_lag_seconds{instance="i"}': "0+60x90"},
        {'headrace_plc_mirror_lag_seconds{instance="i"}': "90000-1000x89"},
    ),
)

GROUPS: dict[str, tuple[Alert, ...]] = {
    "processes": PROCESSES,
    "flow": FLOW,
    "integrity": INTEGRITY,
    "clients": CLIENTS,
    "network": NETWORK,
}
ALL = tuple(alert for group in GROUPS.values() for alert in group)
