"""Metrics of a relay's reading side, read when they are scraped. Labels are kinds, states and reasons: bounded.

No label names a host: an operator looks one up (`com.atproto.sync.getHostStatus`). Does not own what counts as it
happens (`ingest.relay`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.relay.reasons import RelayReason
from ingest.relay.relay import Relay

_STATES = ("active", "idle", "offline", "throttled", "banned")
_SOURCES = ("host", "upstream")
_ANEW = (RelayReason.FUTURE_CURSOR.value, RelayReason.SEQ_RESET.value)


class RelayCollector(Collector):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        relay = self._relay
        states: Counter[str] = Counter(dict.fromkeys(_STATES, 0))
        accepted: Counter[tuple[str, str]] = Counter()
        dropped: Counter[tuple[str, str]] = Counter()
        waiting = dict.fromkeys(_SOURCES, 0)
        for host in relay.known:
            states[host.status] += 1
            waiting[host.kind] += host.progress.waiting
            accepted.update({(host.kind, kind): count for kind, count in host.accepted.items()})
            dropped.update({(host.kind, reason): count for reason, count in host.dropped.items()})
        hosts = GaugeMetricFamily("headrace_relay_hosts", "Hosts that are known, by state.", labels=["state"])
        for state, count in states.items():
            hosts.add_metric([state], count)
        yield hosts
        taken = CounterMetricFamily(
            "headrace_relay_messages_total",
            "Messages taken since the start, by what they led to (`held`: kept until the account has caught up).",
            labels=["source", "kind"],
        )
        for labels, count in accepted.items():
            taken.add_metric(list(labels), count)
        yield taken
        refused = CounterMetricFamily(
            "headrace_relay_dropped_total",
            "Messages and connections that did not hold since the start.",
            labels=["source", "reason"],
        )
        for labels, count in dropped.items():
            refused.add_metric(list(labels), count)
        yield refused
        anew = CounterMetricFamily(
            "headrace_relay_restarted_numberings_total",
            "Times since the start that a host's numbers began anew below the cursor: its restored backup, a lie.",
            labels=["source"],
        )
        for source in _SOURCES:
            anew.add_metric([source], sum(dropped[source, reason] for reason in _ANEW))
        yield anew
        under_way = GaugeMetricFamily(
            "headrace_relay_under_way_messages", "Messages read and not yet in the log or refused.", labels=["source"]
        )
        for source, count in waiting.items():
            under_way.add_metric([source], count)
        yield under_way
        yield GaugeMetricFamily("headrace_relay_accounts", "Accounts seen of hosts.", value=relay.store.counts.total())
        yield from self._verification()
        yield from self._repairs()
        yield from self._strangers()

    def _verification(self) -> Iterator[Metric]:
        verified = self._relay.intake.verification
        yield CounterMetricFamily(
            "headrace_relay_verified_total",
            "Commits and #syncs put to the verifier since the start.",
            verified.count,
        )
        yield CounterMetricFamily(
            "headrace_relay_verify_seconds_total",
            "Seconds that these waited for its verdict; over the number of them, what one takes.",
            verified.seconds,
        )

    def _strangers(self) -> Iterator[Metric]:
        strangers = self._relay.strangers
        yield GaugeMetricFamily(
            "headrace_relay_unresolved_accounts",
            "Accounts whose messages wait until it can be told who they are.",
            len(strangers),
        )
        yield GaugeMetricFamily(
            "headrace_relay_unresolved_messages", "Messages that wait for that.", strangers.messages
        )
        yield CounterMetricFamily(
            "headrace_relay_given_up_unresolved_total",
            "Accounts of which some messages found no room to wait and that could not be fetched either.",
            strangers.given_up,
        )

    def _repairs(self) -> Iterator[Metric]:
        resync = self._relay.resync
        yield GaugeMetricFamily(
            "headrace_relay_desynchronized_accounts", "Accounts whose repo is to be fetched.", len(resync)
        )
        yield GaugeMetricFamily(
            "headrace_relay_held_bytes", "Bytes of messages held until their account has caught up.", resync.held_bytes
        )
        yield CounterMetricFamily(
            "headrace_relay_resyncs_total", "Accounts that have caught up since the start.", resync.done
        )
        yield CounterMetricFamily(
            "headrace_relay_given_up_resyncs_total", "Accounts left out of step after the last try.", resync.given_up
        )
        failed = CounterMetricFamily(
            "headrace_relay_failed_fetches_total", "Repos that could not be had or did not hold.", labels=["reason"]
        )
        for reason, count in resync.failures.items():
            failed.add_metric([reason], count)
        yield failed
