"""The composition root of derive: from `commits` to `records` and `firehose`, any number share the shards."""

from __future__ import annotations

from typing import Any

from headrace.lock import DirectoryLock
from headrace.metrics.cluster import DeriveCollector
from headrace.metrics.directory import DirectoryCollector
from headrace.running import Running
from headrace.settings import Settings
from headrace.upkeep_cluster import keep_commits_short
from headrace.wiring import shared
from headrace.wiring.cluster import about, broker_metrics, kafka_settings, role_metrics, topics
from headrace.wiring.store import cql_settings
from ingest.log_kafka.derive.worker import DeriveWorker
from views.generations_scylla import CqlRegistry


async def start(running: Running, settings: Settings) -> None:
    running.callback(DirectoryLock(settings.data).release)
    ops = running.bind(settings.host, settings.ops_port, "ops_port")
    kafka = kafka_settings(settings)
    await topics(kafka, settings)
    skips = None
    if settings.cql_hosts:  # where an operator's skips are kept; without a store there are none
        registry = await CqlRegistry.open(cql_settings(settings))
        running.push(registry.close)
        skips = registry.skipped
    worker = DeriveWorker(kafka, settings.data / "derive", settings.shards, skips=skips)
    running.push(worker.stop)
    await worker.start()
    running.keep(worker.stopped(), "derive")
    running.keep(keep_commits_short(kafka, settings.shards), "upkeep of commits")
    role_metrics(running, settings, "kafka", *(("cql",) if settings.cql_hosts else ()))
    broker_metrics(running, kafka)
    running.registry.register(DirectoryCollector(settings.data))
    running.registry.register(DeriveCollector(worker))

    def status() -> dict[str, Any]:
        places = {str(shard): offset for shard, offset in sorted(worker.places.items())}
        return {**about(running), "derive": {"places": places, "entries": worker.entries}}

    await shared.serve_ops(running, ops, status=status, ready=lambda: worker.failure is None)
