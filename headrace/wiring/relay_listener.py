"""What a relay serves: the firehose, com.atproto.sync of accounts elsewhere, Jetstream's lines, its operator's calls.

`start` is the composition root of a relay as a process of its own, without views. Does not own what it crawls
(`headrace/wiring/relay.py`) nor which log it has (`headrace/wiring/relay_log.py`).
"""

from __future__ import annotations

from collections import Counter
from socket import socket
from typing import Any

from api import apps, well_known
from api.auth import Authenticator
from api.firehose import FirehoseHub
from api.metrics import HttpMetrics
from api.relay import admin
from api.relay import backfills as admin_backfills
from api.relay.jetstream import Jetstream, JetstreamMetrics
from api.relay.jetstream_lines import JetstreamLines
from api.xrpc import Services
from headrace.backfill_hooks import hooks
from headrace.lock import DirectoryLock
from headrace.metrics.directory import DirectoryCollector
from headrace.running import Running
from headrace.settings import Settings, SettingsError, where
from headrace.wiring import relay as wiring_relay
from headrace.wiring import relay_log, shared
from headrace.wiring.cluster import about, role_metrics
from ingest.log import FirehoseReader
from ingest.relay.backfill_view import BackfillAdmin
from ingest.relay.directory import RELAY_SERVER, HostDirectory, RelayDirectory
from schemas import lexicon

DICTIONARY_MAX = 16 * 1024 * 1024  # bytes; Jetstream's has 110 KB
_HOSTS_SHOWN = 10_000  # counted in a status


async def start(running: Running, settings: Settings) -> None:
    running.callback(DirectoryLock(settings.data).release)
    bound = running.bind(settings.host, settings.relay_port, "relay_port")
    ops = running.bind(settings.host, settings.ops_port, "ops_port")
    secret = shared.tokens(settings)
    assert settings.plc_url is not None, "the role cannot do without it"
    resolver = shared.identity(running, settings, shared.plc_client(running, settings.plc_url), None)
    role_metrics(running, settings, *(("kafka",) if settings.kafka_servers else ()), resolver=resolver)
    running.registry.register(DirectoryCollector(settings.data))
    made = await relay_log.open_log(running, settings, resolver)
    relay = await wiring_relay.crawl(
        running,
        settings,
        log=made.log,
        resolver=resolver,
        dids=made.dids,
        hosted=lambda _did: False,
        ours=wiring_relay.own_names(settings, (bound,)) | made.own,
    )
    made.mended_by(relay)
    firehose = made.firehose
    await serve(running, settings, bound, log=firehose, relay=relay, backfills=relay, admin_token=secret["admin_token"])
    await shared.serve_ops(
        running,
        ops,
        status=lambda: _status(running, firehose, relay),
        ready=lambda: True,
        token=secret["ops_token"],
        hooks=hooks(relay),
    )


def _status(running: Running, log: FirehoseReader, relay: HostDirectory) -> dict[str, Any]:
    oldest, newest, oldest_time = log.firehose_bounds()
    bounds = {"oldest_seq": oldest, "newest_seq": newest, "oldest_time": oldest_time}
    hosts = Counter(host.status for _, host in relay.hosts(0, _HOSTS_SHOWN))
    return {**about(running), "firehose": bounds, "hosts": hosts}


async def serve(
    running: Running,
    settings: Settings,
    bound: socket,
    *,
    log: FirehoseReader,
    relay: RelayDirectory,
    backfills: BackfillAdmin,
    admin_token: str,
) -> FirehoseHub:
    """The public listener. Raises SettingsError for a dictionary that cannot be read."""
    config = shared.server_config(settings, bound, admin_token=admin_token, offers=())
    hub = FirehoseHub(log, lambda _did: True, server=RELAY_SERVER)
    running.keep(hub.run(), "firehose")
    jetstream = Jetstream(JetstreamLines(log), JetstreamMetrics(running.registry), _dictionary(settings))
    services = Services(
        catalogue=lexicon.load(),
        config=config,
        firehose=hub,
        metrics=HttpMetrics(running.registry),
        now=shared.unix_micros,
        relay=relay,
    )
    authenticator = Authenticator(None, None, (), admin_token)
    await shared.serve_public(
        running,
        settings,
        services,
        bound,
        authenticator=authenticator,
        pds=apps.RELAY,
        pages={
            **well_known.pages(services, shared.nobody),
            "/subscribe": jetstream.subscribe,
            **admin.handlers(relay, authenticator, admin.GETS),
            **admin.handlers(backfills, authenticator, admin_backfills.GETS),
        },
        actions={
            **admin.handlers(relay, authenticator, admin.POSTS),
            **admin.handlers(backfills, authenticator, admin_backfills.POSTS),
        },
    )
    running.push(jetstream.close)
    running.callback(hub.close)
    return hub


def _dictionary(settings: Settings) -> bytes | None:
    path = settings.jetstream_dictionary
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return file.read(DICTIONARY_MAX)
    except OSError as error:
        raise SettingsError(
            f"jetstream_dictionary: {path}: {error.strerror}. {where('jetstream_dictionary')}"
        ) from error
