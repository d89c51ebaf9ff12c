"""The composition root of a PDS of a cluster: one process a name, its accounts' files in its data directory.

What the views answer is forwarded to an AppView. Does not own accounts and repos (`ingest.pds`).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from api import apps, well_known
from api.auth import Authenticator
from api.firehose import FirehoseHub
from api.forward import AppViewClient, falling_back, forwarded
from api.metrics import HttpMetrics
from api.xrpc import Endpoint, Services
from headrace.lock import DirectoryLock
from headrace.metrics.directory import DirectoryCollector
from headrace.metrics.embedded import CommitMetrics
from headrace.metrics.pds import PdsCollector
from headrace.running import Running
from headrace.settings import Settings
from headrace.wiring import shared
from headrace.wiring.cluster import about, broker_metrics, kafka_settings, role_metrics, topics
from ingest.log_kafka.firehose import KafkaFirehose
from ingest.log_kafka.pds.log import KafkaPdsLog
from ingest.log_kafka.pds.writer import MAX_WAITING
from ingest.pds.parts import Parts
from ingest.pds.pds import Pds
from schemas import lexicon


async def start(running: Running, settings: Settings) -> None:
    directory, name = settings.data, settings.pds_name or settings.hostname
    running.callback(DirectoryLock(directory).release)
    bound = running.bind(settings.host, settings.port, "port")
    ops = running.bind(settings.host, settings.ops_port, "ops_port")
    config = shared.server_config(settings, bound, **shared.tokens(settings), offers=("pds",))
    registry, kafka = running.registry, kafka_settings(settings)
    metrics = HttpMetrics(registry)
    await topics(kafka, settings)
    assert settings.plc_url is not None, "the role's needs were checked"
    plc = shared.plc_client(running, settings.plc_url)
    local = shared.LateLocalHandles()
    resolver = shared.identity(running, settings, plc, local)

    log = await KafkaPdsLog.open(
        kafka,
        name,
        directory,
        settings.shards,
        domains=settings.handle_domains,
        host=urlsplit(config.public_url).netloc,
        committed=CommitMetrics(registry).committed,
    )
    running.push(log.close)
    running.keep(log.stopped(), "log")
    catalogue = lexicon.load()
    here = await Pds.open(
        Parts(
            directory,
            log=log,
            plc=plc,
            resolver=resolver,
            catalogue=catalogue,
            service_did=config.service_did,
            public_url=config.public_url,
            settings=shared.pds_settings(settings),
        )
    )
    running.push(here.close)
    running.keep(here.stopped(), "pds")
    local.ask = here.local_handle

    firehose = await KafkaFirehose.open(kafka, settings.firehose_base)
    running.push(firehose.close)
    running.keep(firehose.stopped(), "firehose reader")
    hub = FirehoseHub(firehose, here.speaks_for)
    running.keep(hub.run(), "firehose")
    role_metrics(running, settings, "kafka", resolver=resolver)
    broker_metrics(running, kafka)
    registry.register(DirectoryCollector(directory))
    registry.register(PdsCollector(log, here))
    running.queue("log", lambda: log.waiting, MAX_WAITING)
    services = Services(
        catalogue=catalogue,
        config=config,
        firehose=hub,
        log=log,
        metrics=metrics,
        now=shared.unix_micros,
        pds=here,
        resolver=resolver,
    )
    await shared.serve_public(
        running,
        settings,
        services,
        bound,
        authenticator=Authenticator(here.tokens, resolver, {config.service_did}, config.admin_token),
        pds=_endpoints(running, settings),
        pages=well_known.pages(services, here.local_handle),
    )
    running.callback(hub.close)

    def status() -> dict[str, Any]:
        return {**about(running), "log": {"name": name, "appended": log.appended, "away": log.away}}

    await shared.serve_ops(running, ops, status=status, ready=lambda: not log.away, token=config.ops_token)


def _endpoints(running: Running, settings: Settings) -> tuple[Endpoint, ...]:
    """Without an AppView what it would answer is not implemented here."""
    if settings.appview_url is None:
        return apps.PDS
    client = AppViewClient(settings.appview_url)
    running.push(client.close)
    return (*falling_back(apps.PDS, client), *forwarded(apps.VIEWS, client))
