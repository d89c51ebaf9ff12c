"""The log that a relay writes to and serves: its own, on SQLite, or a cluster's, on Kafka. Chosen here, once.

Does not own what it reads (`headrace/wiring/relay.py`) nor its listener (`headrace/wiring/relay_listener.py`).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from headrace.metrics.embedded import CommitMetrics
from headrace.metrics.relay_log import RelayLogCollector
from headrace.running import Running
from headrace.settings import Settings
from headrace.upkeep import keep_short
from headrace.wiring import shared
from headrace.wiring.cluster import broker_metrics, kafka_settings, topics
from headrace.wiring.views import LOG
from ingest.identity.resolver import DidResolver
from ingest.log import FirehoseReader
from ingest.log_kafka.firehose import KafkaFirehose
from ingest.log_kafka.relay.log import KafkaRelayLog
from ingest.log_kafka.relay.own_hosts import OwnHosts
from ingest.log_kafka.relay.undecided import MAX_UNDECIDED
from ingest.log_sqlite.log import SqliteLog
from ingest.relay.left_below import catch_up_with
from ingest.relay.own_accounts import OthersOnly
from ingest.relay.parts import RelayLog
from ingest.relay.relay import Relay


class RelaysLog(NamedTuple):
    """`own`: names of our own hosts, which are not read; `dids` tells who accounts are; `cluster` asks for repairs."""

    log: RelayLog
    firehose: FirehoseReader
    dids: DidResolver
    own: frozenset[str] = frozenset()
    cluster: KafkaRelayLog | None = None

    def mended_by(self, relay: Relay) -> None:
        """What the log refused of what was appended is caught up with by `relay`."""
        if self.cluster is not None:
            self.cluster.follow(partial(catch_up_with, relay))


async def open_log(running: Running, settings: Settings, dids: DidResolver) -> RelaysLog:
    """It ends with `running`."""
    return await (_clusters if settings.kafka_servers else _own)(running, settings, dids)


async def _own(running: Running, settings: Settings, dids: DidResolver) -> RelaysLog:
    committed = CommitMetrics(running.registry).committed
    log = await SqliteLog.open(settings.data / LOG, shards=settings.shards, committed=committed)
    running.push(log.close)
    running.keep(log.stopped(), "log")
    running.keep(keep_short(log, shared.unix_micros), "upkeep")
    return RelaysLog(log, log, dids)


async def _clusters(running: Running, settings: Settings, dids: DidResolver) -> RelaysLog:
    kafka = kafka_settings(settings)
    broker_metrics(running, kafka)
    await topics(kafka, settings)
    firehose = await KafkaFirehose.open(kafka, settings.firehose_base)
    running.push(firehose.close)
    running.keep(firehose.stopped(), "firehose reader")
    own = OwnHosts(kafka)
    await own.refresh()
    running.keep(own.run(), "own hosts")
    committed = CommitMetrics(running.registry).committed
    log = await KafkaRelayLog.open(kafka, settings.data, settings.shards, now=shared.unix_micros, committed=committed)
    running.push(log.close)
    running.keep(log.stopped(), "log")
    running.registry.register(RelayLogCollector(log))
    running.queue("relay_undecided", lambda: log.undecided, MAX_UNDECIDED)
    return RelaysLog(log, firehose, OthersOnly(dids, lambda: own.names), own.names, log)
