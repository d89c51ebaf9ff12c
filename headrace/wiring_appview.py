"""The composition root of an AppView: stateless, reads one generation's store, any number of them.

Does not own what is read (`api/appview`) nor which generation is live (`headrace/live.py`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from api import apps, well_known
from api.appview import images
from api.appview.gate import GatedStore
from api.appview.reader import AppViewReader
from api.appview.together import at_once
from api.auth import Authenticator
from api.fresh_cluster import ReadSaidRev
from api.metrics import HttpMetrics
from api.xrpc import Services
from headrace import wiring_shared as shared
from headrace.collector_cluster import StoreCollector
from headrace.running import Running
from headrace.settings import Settings
from headrace.wiring_cluster import about, role_metrics
from headrace.wiring_store import TABLES, cql_settings
from schemas import lexicon
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
    resolver = shared.identity(running, settings, shared.plc_client(running, settings.plc_url), None)

    quick = msgspec.structs.replace(cql_settings(settings), timeout=_READ_SECONDS, patience=_READ_SECONDS)
    store = await ScyllaStore.open(quick, settings.generation, TABLES, create=False)
    running.push(store.close)
    gated = GatedStore(store, settings.reads_at_once, StoreUnavailableError)
    reader = AppViewReader(gated, config.image_url, at_once(_PARTS_AT_ONCE), big_kept=_BIG_KEPT_SECONDS)
    services = Services(
        appview=reader,
        catalogue=lexicon.load(),
        config=config,
        fresh=ReadSaidRev(gated, settings.shards, metrics),
        metrics=metrics,
        now=shared.unix_micros,
        resolver=resolver,
    )
    role_metrics(running, resolver)
    running.registry.register(StoreCollector(store))
    await shared.serve_public(
        running,
        settings,
        services,
        bound,
        authenticator=Authenticator(None, resolver, shared.appview_names(config), ""),
        views=apps.VIEWS,
        pages=well_known.pages(services, shared.nobody),
        prefixes={images.PREFIX: images.redirect(resolver, reader.shows)},
        limit_accounts=True,
    )

    def status() -> dict[str, Any]:
        return {**about(running), "generation": store.generation}

    await shared.serve_ops(running, ops, status=status, ready=lambda: True)
