"""The composition root of one process: picks adapters, starts them in order, stops them in reverse. Holds no logic.

Order: the directory's lock, sockets (addresses go into documents), log, identity, PDS, views, listeners. What fails
while starting undoes what has started.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from importlib.metadata import version
from typing import Any

from prometheus_client import ProcessCollector

import views
from api import apps, well_known
from api.appview import images
from api.appview.reader import AppViewReader
from api.auth import Authenticator
from api.firehose import FirehoseHub
from api.fresh import ReadYourWrites
from api.metrics import HttpMetrics
from api.relay import operators
from api.xrpc import Services
from headrace import backfill_hooks
from headrace.auditing import audit
from headrace.commands import views_live as views_commands
from headrace.commands.uploads import take_upload
from headrace.lock import DirectoryLock
from headrace.metrics.audit import AuditCollector
from headrace.metrics.calls import ViewsCommitCollector
from headrace.metrics.directory import DirectoryCollector
from headrace.metrics.embedded import CommitMetrics, HostCollector, NetworkCollector
from headrace.metrics.views import GenerationsCollector
from headrace.metrics.visible import VisibleCollector
from headrace.running import Running
from headrace.settings import Settings
from headrace.upkeep import keep_up
from headrace.watching import Watch
from headrace.wiring import relay as wiring_relay
from headrace.wiring import shared
from headrace.wiring import views as wiring_views
from headrace.wiring.tracing import trace
from ingest.identity.plc_client import PlcClient
from ingest.log_sqlite.log import SqliteLog
from ingest.log_sqlite.writer import MAX_WAITING
from ingest.pds.parts import Parts
from ingest.pds.pds import Pds
from processors.audit import Auditor
from processors.rebuild.copy import Copy
from processors.rebuild.embedded import EmbeddedGenerations
from schemas import lexicon
from schemas.topics import RECORDS


class Network(Running):
    """All of it, running. Make one with `await Network.open(settings)`; `addresses` are by listener name."""

    ingest: Callable[[str, AsyncIterator[bytes]], Awaitable[dict[str, Any]]]
    pds: Pds

    @classmethod
    async def open(cls, settings: Settings) -> Network:
        """Raises LockedError, DirectoryError, BindError, InvariantError."""
        return await cls().opened(partial(cls._start, settings=settings))

    async def _start(self, settings: Settings) -> None:
        push = self.push
        directory = settings.data
        trace(self, settings, "up")
        self.callback(DirectoryLock(directory).release)
        xrpc_socket = self.bind(settings.host, settings.port, "port")
        plc_socket = self.bind(settings.host, settings.plc_port, "plc_port")
        ops_socket = self.bind(settings.host, settings.ops_port, "ops_port")
        config = shared.server_config(settings, xrpc_socket, **shared.tokens(settings))
        registry = self.registry
        metrics = HttpMetrics(registry)
        catalogue = lexicon.load()
        plc: PlcClient
        if settings.plc_url is None:
            plc = await shared.serve_plc(self, directory, plc_socket)
        else:
            plc = shared.plc_client(self, settings.plc_url)
            self.addresses["plc"] = settings.plc_url

        log = await SqliteLog.open(
            directory / wiring_views.LOG, shards=settings.shards, committed=CommitMetrics(registry).committed
        )
        push(log.close)
        self.keep(log.stopped(), "log")

        local = shared.LateLocalHandles()
        resolver = shared.identity(self, settings, plc, local)
        pds = self.pds = await Pds.open(
            Parts(
                directory,
                log=log,
                foreign=log,
                plc=plc,
                resolver=resolver,
                catalogue=catalogue,
                service_did=config.service_did,
                public_url=config.public_url,
                settings=shared.pds_settings(settings),
            )
        )
        push(pds.close)
        self.keep(pds.stopped(), "pds")
        local.ask = pds.local_handle

        generations = await wiring_views.generations(self, settings, log)
        self.keep(keep_up(log, pds, generations, shared.unix_micros), "upkeep")
        ProcessCollector(registry=registry)
        registry.register(DirectoryCollector(directory))
        registry.register(HostCollector(pds, resolver))
        self.queue("log", lambda: log.waiting, MAX_WAITING)
        registry.register(ViewsCommitCollector(lambda: generations.live.store.commits))
        flow = NetworkCollector(config.version, log, lambda: generations.live.runner, shared.unix_micros)
        registry.register(flow)
        visible = VisibleCollector(shared.unix_micros)
        visible.follow(generations.live.runner)
        registry.register(visible)
        auditor = Auditor(wiring_views.log_accounts(self, directory), views.ALL, generations.skipped)
        registry.register(GenerationsCollector(generations))
        registry.register(AuditCollector(auditor))
        self.keep(audit(auditor, generations, settings.audit_seconds), "audit")

        hub = FirehoseHub(log, pds.speaks_for)
        self.keep(hub.run(), "firehose")

        def readers(copy: Copy) -> tuple[AppViewReader, ReadYourWrites]:
            return AppViewReader(copy.cached, config.image_url), ReadYourWrites(copy.runner, log.newest, metrics)

        appview, fresh = readers(generations.live)
        services = Services(
            appview=appview,
            catalogue=catalogue,
            config=config,
            firehose=hub,
            fresh=fresh,
            log=log,
            metrics=metrics,
            now=shared.unix_micros,
            operations=log,
            pds=pds,
            resolver=resolver,
        )
        relay = None
        if wiring_relay.is_wanted(settings):
            ours = wiring_relay.own_names(settings, (xrpc_socket,))
            relay = await wiring_relay.crawl(self, settings, log=log, resolver=resolver, hosted=pds.hosts, ours=ours)
        authenticator = Authenticator(pds.tokens, resolver, shared.audiences(config), config.admin_token)
        asked, told = ({}, {}) if relay is None else operators.hosts(relay, relay, authenticator)
        dispatcher = await shared.serve_public(
            self,
            settings,
            services,
            xrpc_socket,
            authenticator=authenticator,
            pds=apps.PDS,
            views=apps.VIEWS,
            pages={**well_known.pages(services, pds.local_handle), **asked},
            actions=told,
            prefixes={images.PREFIX: images.handler(pds)},
        )

        def switched(copy: Copy) -> None:
            dispatcher.read(*readers(copy))
            visible.follow(copy.runner)

        generations.switched = switched
        self.callback(hub.close)
        feed = self.ingest = partial(take_upload, log=log, resolver=resolver, hosted=pds.hosts, metrics=metrics)
        await shared.serve_ops(
            self,
            ops_socket,
            status=partial(_status, self, log, generations),
            ready=lambda: generations.live.runner.ready,
            token=config.ops_token,
            river=Watch(
                version("headrace"),
                log,
                metrics,
                live=lambda: generations.live,
                reader=lambda: AppViewReader(generations.live.cached, config.image_url),
                fresh=flow.freshness,
            ).look,
            hooks={
                "/ingest/frames": partial(feed, "frames"),
                "/ingest/car": partial(feed, "car"),
                **views_commands.hooks(generations),
                **backfill_hooks.hooks(relay),
            },
        )


def _status(network: Network, log: SqliteLog, generations: EmbeddedGenerations) -> dict[str, Any]:
    runner = generations.live.runner
    oldest, newest, oldest_time = log.firehose_bounds()
    return {
        "version": version("headrace"),
        "addresses": network.addresses,
        "log": {
            "shards": log.shards,
            "commits_end": [log.commits_end(shard) for shard in range(log.shards)],
            "records_end": [log.records_end(shard) for shard in range(log.shards)],
            "appended": log.appended,
            "rejected": {reason.value: count for reason, count in log.rejected.items()},
        },
        "views": {
            "ready": runner.ready,
            "generation": generations.live.name,
            "reached": list(runner.reached_of(RECORDS).values()),
            "behind": runner.behind(),
        },
        "firehose": {"oldest_seq": oldest, "newest_seq": newest, "oldest_time": oldest_time},
    }
