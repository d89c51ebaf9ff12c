"""The composition root of a firehose: serves subscribeRepos of the whole cluster, any number of them, the same numbers.

Does not own frames (`ingest.log_kafka.firehose`) nor subscribers (`api.firehose`).
"""

from __future__ import annotations

from typing import Any

from api import apps, well_known
from api.auth import Authenticator
from api.firehose import FirehoseHub
from api.metrics import HttpMetrics
from api.xrpc import Services
from headrace.metrics.cluster import FirehoseCollector
from headrace.running import Running
from headrace.settings import Settings
from headrace.wiring import shared
from headrace.wiring.cluster import about, broker_metrics, kafka_settings, role_metrics, topics
from ingest.log import FirehoseReader
from ingest.log_kafka.firehose import KafkaFirehose
from schemas import lexicon


async def start(running: Running, settings: Settings) -> None:
    bound = running.bind(settings.host, settings.port, "port")
    ops = running.bind(settings.host, settings.ops_port, "ops_port")
    config = shared.server_config(settings, bound, offers=())
    kafka = kafka_settings(settings)
    await topics(kafka, settings)
    reader = await KafkaFirehose.open(kafka, settings.firehose_base)
    running.push(reader.close)
    running.keep(reader.stopped(), "firehose reader")
    hub = FirehoseHub(reader, lambda _did: True)
    running.keep(hub.run(), "firehose")
    services = Services(catalogue=lexicon.load(), config=config, firehose=hub, metrics=HttpMetrics(running.registry))
    role_metrics(running, settings, "kafka")
    broker_metrics(running, kafka)
    running.registry.register(FirehoseCollector(reader))
    await shared.serve_public(
        running,
        settings,
        services,
        bound,
        authenticator=Authenticator(None, None, (), ""),
        pds=apps.FIREHOSE,
        pages=well_known.pages(services, shared.nobody),
    )
    running.callback(hub.close)
    await shared.serve_ops(running, ops, status=lambda: _status(running, reader), ready=lambda: True)


def _status(running: Running, reader: FirehoseReader) -> dict[str, Any]:
    oldest, newest, oldest_time = reader.firehose_bounds()
    bounds = {"oldest_seq": oldest, "newest_seq": newest, "oldest_time": oldest_time}
    return {**about(running), "firehose": bounds}
