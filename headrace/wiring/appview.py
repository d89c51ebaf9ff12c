"""The composition root of an AppView: stateless, reads one generation's store, any number of them.

What its callers set goes into `operations`; without a broker it reads all the same.

Does not own what is read (`api/appview`) nor which generation is live (`headrace/live.py`).
"""

from __future__ import annotations

from typing import Any

from api import apps, well_known
from api.appview import atproto, images
from api.appview.gate import GatedStore
from api.appview.late import Part, within
from api.appview.reader import AppViewReader
from api.appview.together import at_once
from api.auth import Authenticator
from api.fresh_cluster import ReadSaidRev
from api.metrics import HttpMetrics
from api.xrpc import Services
from headrace.live import LiveStore
from headrace.metrics.calls import StoreCollector
from headrace.metrics.recent import RecentRowsCollector
from headrace.running import Running
from headrace.settings import Settings
from headrace.wiring import shared
from headrace.wiring.cluster import about, kafka_settings, role_metrics
from headrace.wiring.store import TABLES, reading_settings
from ingest.log_kafka.operations import KafkaOperations
from schemas import lexicon
from views.generations_scylla import CqlRegistry
from views.store import Store
from views.store_recent import RecentStore
from views.store_scylla import ScyllaStore, StoreUnavailableError

# A reader is told soon that the store is away; a writer waits.
_READ_SECONDS = 2.0
_PARTS_AT_ONCE = 8  # reads of one request, of many keys each
_BIG_KEPT_SECONDS = 1.0


async def start(running: Running, settings: Settings) -> None:
    bound = running.bind(settings.host, settings.port, "port")
    ops = running.bind(settings.host, settings.ops_port, "ops_port")
    config = shared.server_config(settings, bound, offers=("appview",))
    metrics = HttpMetrics(running.registry)
    assert settings.plc_url is not None, "the role's needs were checked"
    plc = shared.plc_client(running, settings.plc_url)
    resolver = shared.identity(running, settings, plc, None, keep=False)

    quick = reading_settings(settings, _READ_SECONDS)
    registry = await CqlRegistry.open(quick)
    running.push(registry.close)
    live = LiveStore(registry, lambda name: ScyllaStore.open(quick, name, TABLES, create=False))
    running.push(live.close)
    await live.open(settings.generation)

    degraded = {part: metrics.degraded.labels(part.value) for part in Part}
    recent = RecentRowsCollector()

    def readers(store: ScyllaStore) -> tuple[AppViewReader, ReadSaidRev]:
        gated = GatedStore(store, settings.reads_at_once, StoreUnavailableError)
        together = at_once(_PARTS_AT_ONCE)
        in_time = within(settings.late_seconds, lambda part: degraded[part].inc())
        rows: Store = gated
        if settings.rows_kept_seconds > 0:
            rows = recent.of(RecentStore(gated, settings.rows_kept_seconds, tallies=recent.tallies))
        reader = AppViewReader(rows, config.image_url, together, big_kept=_BIG_KEPT_SECONDS, in_time=in_time)
        return reader, ReadSaidRev(gated, settings.shards, metrics)

    async def shows(did: str) -> bool:
        return await dispatcher.appview.shows(did)

    operations = KafkaOperations(kafka_settings(settings), settings.shards)
    running.push(operations.close)
    reader, fresh = readers(live.store)
    services = Services(
        appview=reader,
        catalogue=lexicon.load(),
        config=config,
        fresh=fresh,
        metrics=metrics,
        now=shared.unix_micros,
        operations=operations,
        resolver=resolver,
    )
    role_metrics(running, settings, "cql", resolver=resolver)
    running.registry.register(StoreCollector(lambda: live.store))
    running.registry.register(recent)
    dispatcher = await shared.serve_public(
        running,
        settings,
        services,
        bound,
        authenticator=Authenticator(None, resolver, shared.appview_names(config), ""),
        pds=atproto.ENDPOINTS,
        views=apps.VIEWS,
        pages=well_known.pages(services, shared.nobody),
        prefixes={images.PREFIX: images.redirect(resolver, shows)},
        limit_accounts=True,
    )

    running.keep(live.follow(lambda store: dispatcher.read(*readers(store))), "live")

    def status() -> dict[str, Any]:
        # Unix seconds: an answer given now is of this moment or a later one.
        shows_since = shared.unix_micros() / 1_000_000 - settings.rows_kept_seconds
        return {**about(running), "generation": live.store.generation, "shows_since": shows_since}

    await shared.serve_ops(running, ops, status=status, ready=lambda: live.ready)
