"""What the roles of a cluster are wired of alike: the broker's settings, the log's topics, what each shows of itself.

A role is one process, made of the parts that it alone has, each in a file of its own beside this: `start` puts
them together in order (directory's lock, sockets, log and store, parts, listeners); what fails while starting undoes
what has started. They hold no logic.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from prometheus_client import ProcessCollector

from headrace import certificates, secrets
from headrace.metrics.calls import KafkaCollector
from headrace.metrics.certificates import CertificatesCollector
from headrace.metrics.cluster import RoleCollector
from headrace.running import Running
from headrace.settings import Settings
from ingest.identity.resolver import IdentityResolver
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.reach import reach
from ingest.log_kafka.requests import Requests
from ingest.log_kafka.topics import ensure_topics


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
        ssl_ca=as_text(settings.kafka_ssl_ca),
        ssl_cert=as_text(settings.kafka_ssl_cert),
        ssl_key=as_text(settings.kafka_ssl_key),
        transaction_timeout_ms=settings.kafka_transaction_timeout_ms,
        session_timeout_ms=settings.kafka_session_timeout_ms,
        heartbeat_ms=settings.kafka_heartbeat_ms,
        replication=settings.kafka_replication,
        min_insync=settings.kafka_min_insync,
        requests=Requests(),
    )


def broker_metrics(running: Running, kafka: KafkaSettings) -> None:
    """What every role that asks the broker shows of that."""
    if kafka.requests is not None:
        running.registry.register(KafkaCollector(kafka.requests))


async def topics(kafka: KafkaSettings, settings: Settings) -> None:
    """The log is there and as it has to be. Raises InvariantError."""
    await reach(kafka)
    await ensure_topics(kafka, settings.shards)


def role_metrics(running: Running, settings: Settings, *servers: str, resolver: IdentityResolver | None = None) -> None:
    """What every role shows. `servers` (kafka, cql) are those it has connected to. Raises SettingsError."""
    ProcessCollector(registry=running.registry)
    loaded = [certificates.read(settings, name) for name in certificates.named(settings, *servers)]
    running.registry.register(CertificatesCollector(loaded))
    running.registry.register(RoleCollector(version("headrace"), resolver))


def about(running: Running) -> dict[str, Any]:
    """What every role's status begins with."""
    return {"version": version("headrace"), "addresses": running.addresses}


def as_text(path: Path | None) -> str | None:
    return None if path is None else str(path)
