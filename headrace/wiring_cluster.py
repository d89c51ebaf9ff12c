"""The composition roots of a cluster's roles that answer no XRPC: plc, derive, process; and what all roles share.

Each role is one process, made of the parts that it alone has. Order: directory's lock, sockets, log and store, parts,
listeners; what fails while starting undoes what has started. Holds no logic. The other roles have files of their own
(`wiring_appview.py`, `wiring_firehose.py`, `wiring_pds.py`).
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from prometheus_client import ProcessCollector

import views
from headrace import secrets
from headrace import wiring_shared as shared
from headrace.collector_cluster import DeriveCollector, LanesCollector, RiverCollector, RoleCollector, StoreCollector
from headrace.lock import DirectoryLock
from headrace.river import River
from headrace.running import Running
from headrace.settings import Settings
from headrace.upkeep_cluster import keep_hops_short, keep_looking
from ingest.identity.resolver import IdentityResolver
from ingest.log_kafka_client import KafkaSettings
from ingest.log_kafka_derive import DeriveWorker
from ingest.log_kafka_reach import reach
from ingest.log_kafka_topics import ensure_hops, ensure_topics
from processors.run_plain import PlainRunner
from views.store_scylla import CqlSettings, ScyllaStore

TABLES = tuple(view.table for view in views.ALL)


def kafka_settings(settings: Settings) -> KafkaSettings:
    """Raises SettingsError when the password's file is none."""
    password = settings.kafka_password_file
    return KafkaSettings(
        servers=",".join(settings.kafka_servers),
        cluster=settings.cluster,
        security=settings.kafka_security,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_username,
        sasl_password=None if password is None else secrets.read(password, "kafka_password_file"),
        ssl_ca=_text(settings.kafka_ssl_ca),
        ssl_cert=_text(settings.kafka_ssl_cert),
        ssl_key=_text(settings.kafka_ssl_key),
        transaction_timeout_ms=settings.kafka_transaction_timeout_ms,
        session_timeout_ms=settings.kafka_session_timeout_ms,
        heartbeat_ms=settings.kafka_heartbeat_ms,
        replication=settings.kafka_replication,
        min_insync=settings.kafka_min_insync,
    )


def cql_settings(settings: Settings) -> CqlSettings:
    """Raises SettingsError when the password's file is none."""
    password = settings.cql_password_file
    return CqlSettings(
        hosts=settings.cql_hosts,
        port=settings.cql_port,
        keyspace=settings.cql_keyspace,
        datacenter=settings.cql_datacenter,
        replication=settings.cql_replication,
        consistency=settings.cql_consistency,
        username=settings.cql_username,
        password=None if password is None else secrets.read(password, "cql_password_file"),
        ssl_ca=_text(settings.cql_ssl_ca),
        epoch=settings.cql_epoch,
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def role_metrics(running: Running, resolver: IdentityResolver | None = None) -> None:
    """What every role shows."""
    ProcessCollector(registry=running.registry)
    running.registry.register(RoleCollector(version("headrace"), resolver))


def about(running: Running) -> dict[str, Any]:
    """What every role's status begins with."""
    return {"version": version("headrace"), "addresses": running.addresses}


async def topics(kafka: KafkaSettings, settings: Settings) -> None:
    """The log is there and as it has to be. Raises InvariantError."""
    await reach(kafka)
    await ensure_topics(kafka, settings.shards)


async def plc(running: Running, settings: Settings) -> None:
    running.callback(DirectoryLock(settings.data).release)
    bound = running.bind(settings.host, settings.plc_port, "plc_port")
    ops = running.bind(settings.host, settings.ops_port, "ops_port")
    role_metrics(running)
    await shared.serve_plc(running, settings.data, bound)
    await shared.serve_ops(running, ops, status=lambda: about(running), ready=lambda: True)


async def derive(running: Running, settings: Settings) -> None:
    running.callback(DirectoryLock(settings.data).release)
    ops = running.bind(settings.host, settings.ops_port, "ops_port")
    kafka = kafka_settings(settings)
    await topics(kafka, settings)
    worker = DeriveWorker(kafka, settings.data / "derive", settings.shards)
    running.push(worker.stop)
    await worker.start()
    running.keep(worker.stopped(), "derive")
    role_metrics(running)
    running.registry.register(DeriveCollector(worker))

    def status() -> dict[str, Any]:
        places = {str(shard): offset for shard, offset in sorted(worker.places.items())}
        return {**about(running), "derive": {"places": places, "entries": worker.entries}}

    await shared.serve_ops(running, ops, status=status, ready=lambda: worker.failure is None)


async def process(running: Running, settings: Settings) -> None:
    ops = running.bind(settings.host, settings.ops_port, "ops_port")
    kafka, generation, shards = kafka_settings(settings), settings.generation, settings.shards
    await topics(kafka, settings)
    await ensure_hops(kafka, generation, shards)
    store = await ScyllaStore.open(cql_settings(settings), generation, TABLES, create=True)
    running.push(store.close)
    river = River(kafka, shards, store, generation, shared.unix_micros)
    running.push(river.close)
    await river.open()
    runner = PlainRunner(
        kafka,
        store,
        views.ALL,
        generation=generation,
        shards=shards,
        settings=shared.fanout_settings(settings),
        on_failure=running.fail,
    )
    running.push(runner.stop)
    await runner.start()
    running.keep(keep_looking(river), "river")
    running.keep(keep_hops_short(kafka, generation, store), "hops")
    role_metrics(running)
    running.registry.register(LanesCollector(runner))
    running.registry.register(RiverCollector(river))
    running.registry.register(StoreCollector(store))

    async def status() -> dict[str, Any]:
        standing = await river.look()
        mine = sorted(f"{topic}[{shard}]" for topic, shard in runner.lanes.lanes)
        found = {"ready": runner.ready, "reached": standing.reached, "behind": standing.behind, "lanes": mine}
        return {**about(running), "generation": generation, "views": found}

    await shared.serve_ops(running, ops, status=status, ready=lambda: runner.ready)
