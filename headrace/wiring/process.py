"""The composition root of a processor: keeps a generation of the views up with the log, any number share the shards."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import views
from headrace.auditing_cluster import audit_shards
from headrace.metrics.audit import AuditCollector
from headrace.metrics.calls import StoreCollector
from headrace.metrics.process import LanesCollector, RiverCollector
from headrace.river import River
from headrace.running import Running
from headrace.settings import Settings
from headrace.stalls import Stalls
from headrace.upkeep_cluster import keep_advancing, keep_given_back, keep_hops_short, keep_looking
from headrace.watching_cluster import ClusterWatch
from headrace.wiring import shared
from headrace.wiring.cluster import about, broker_metrics, kafka_settings, role_metrics, topics
from headrace.wiring.generations import of_cluster
from headrace.wiring.store import TABLES, cql_settings
from ingest.log_kafka.topics import ensure_hops
from processors.audit_kafka import ShardAudits
from processors.run_plain import PlainRunner
from schemas.topics import RECORDS
from views.generations_scylla import CqlRegistry
from views.store_scylla import ScyllaStore

if TYPE_CHECKING:
    from processors.run_faust import FaustRunner


async def start(running: Running, settings: Settings) -> None:
    ops = running.bind(settings.host, settings.ops_port, "ops_port")
    kafka, generation, shards = kafka_settings(settings), settings.generation, settings.shards
    await topics(kafka, settings)
    registry = await CqlRegistry.open(cql_settings(settings))
    running.push(registry.close)
    generations = of_cluster(registry, settings)
    entered = await generations.enter(generation)
    await ensure_hops(kafka, generation, shards)
    store = await ScyllaStore.open(cql_settings(settings), generation, TABLES, create=False)
    running.push(store.close)
    river = River(kafka, shards, store, generation, shared.unix_micros)
    running.push(river.close)
    await river.open()
    runner = _runner(settings)(
        kafka,
        store,
        views.ALL,
        generation=generation,
        shards=shards,
        settings=shared.fanout_settings(settings),
        on_failure=running.fail,
        skips=generations.skips_of(generation),
        held=entered.state == "building",
    )
    running.push(runner.stop)
    await runner.start()
    running.keep(keep_looking(river), "river")
    running.keep(keep_advancing(generations, generation), "generation")
    running.keep(keep_given_back(generations), "compaction")
    running.keep(keep_hops_short(kafka, generation, store), "hops")
    # An auditor at rest still shows that it found nothing: an absent number would be taken for zero.
    audits = ShardAudits(
        kafka, store, views.ALL, shards=shards, rate=settings.audit_rate or 1, skips=generations.skips_of(generation)
    )
    rest = settings.audit_seconds if settings.audit_rate else 0.0
    running.keep(audit_shards(audits, lambda: runner.lanes.shards(RECORDS), registry.live, generation, rest), "audit")
    role_metrics(running, settings, "kafka", "cql")
    broker_metrics(running, kafka)
    running.registry.register(LanesCollector(runner))
    running.registry.register(RiverCollector(river))
    running.registry.register(AuditCollector(audits.auditor))
    running.registry.register(StoreCollector(lambda: store))

    async def status() -> dict[str, Any]:
        standing = await river.look()
        mine = sorted(f"{topic}[{shard}]" for topic, shard in runner.lanes.lanes)
        found = {"ready": runner.ready, "reached": standing.reached, "behind": standing.behind, "lanes": mine}
        return {**about(running), "generation": generation, "views": found}

    stalls = Stalls(time.monotonic)

    def stalled() -> str | None:
        offsets = {place: lane.offset for place, lane in runner.lanes.lanes.items()} if runner.ready else {}
        return stalls.seen(river.last, river.last.waiting, offsets)

    watch = ClusterWatch(
        version("headrace"),
        river,
        generation=generation,
        shards=shards,
        views=views.ALL,
        ready=lambda: runner.ready,
    )
    running.push(watch.close)
    await shared.serve_ops(running, ops, status=status, ready=lambda: runner.ready, stalled=stalled, river=watch.look)


def _runner(settings: Settings) -> type[PlainRunner | FaustRunner]:
    if settings.runner == "plain":
        return PlainRunner
    from processors.run_faust import FaustRunner  # noqa: PLC0415 - a second's work, for who runs it alone

    return FaustRunner
