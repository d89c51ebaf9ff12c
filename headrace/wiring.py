"""The composition root of one process: picks adapters, starts them in order, stops them in reverse. Holds no logic.

Order: the directory's lock, sockets (addresses go into documents), log, identity, PDS, views, listeners. What fails
while starting undoes what has started.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector

import views
from api import apps, well_known
from api.appview import images
from api.appview.reader import AppViewReader
from api.auth import Authenticator
from api.config import ServerConfig
from api.dispatch import Dispatcher
from api.firehose import FirehoseHub
from api.fresh import ReadYourWrites
from api.metrics import HttpMetrics
from api.ops import build_ops_app
from api.plc.app import build_plc_app
from api.server import HEAD_MAX, PublicServer
from api.xrpc import Services
from headrace import secrets
from headrace.collector import CommitMetrics, HostCollector, NetworkCollector
from headrace.listeners import address, bind, listen
from headrace.lock import DirectoryLock
from headrace.settings import Settings
from headrace.upkeep import keep_up
from headrace.uploads import take_upload
from ingest.identity.dns_txt import DnsTxt
from ingest.identity.fetch import Fetcher
from ingest.identity.handles import HandleResolver
from ingest.identity.plc_client import PlcClient, PlcHttp
from ingest.identity.plc_store import PlcDirectory
from ingest.identity.resolver import IdentityResolver
from ingest.identity.ssrf import LOOPBACK, AddressGuard
from ingest.log_sqlite import SqliteLog
from ingest.pds.parts import Parts
from ingest.pds.pds import Pds
from ingest.pds.rate_limit import RateLimiter
from ingest.pds.settings import PdsSettings
from processors.run_embedded import EmbeddedRunner
from schemas import lexicon
from schemas.syntax import Did, Handle
from views.store_cached import CachedStore
from views.store_sqlite import SqliteStore
from views.view import FanoutSettings

# What requests under way are given to end in, listener by listener: with the rest, less than 5 s.
_PUBLIC_SECONDS = 2.0
_PRIVATE_SECONDS = 0.75


def unix_micros() -> int:
    return time.time_ns() // 1000


class Network:
    """All of it, running. Make one with `await Network.open(settings)`; `addresses` are by listener name."""

    def __init__(self, stack: AsyncExitStack, addresses: dict[str, str]) -> None:
        self._stack = stack
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.addresses = addresses
        self.registry = CollectorRegistry()
        self.ingest: Callable[[str, AsyncIterator[bytes]], Awaitable[dict[str, Any]]]

    @classmethod
    async def open(cls, settings: Settings) -> Network:
        """Raises LockedError, DirectoryError, BindError, InvariantError."""
        async with AsyncExitStack() as stack:
            network = cls(stack, {})
            await network._start(settings)
            network._stack = stack.pop_all()
            return network
        raise AssertionError("unreachable: the stack swallows nothing")

    async def close(self) -> None:
        await self._stack.aclose()

    async def failed(self) -> BaseException:
        """Returns when a part has stopped by itself, with its reason."""
        return await asyncio.shield(self._failure)

    def _run(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Keep a task for as long as the network; its end is the network's failure."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._stack.push_async_callback(_cancel, task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            cause = task.exception() or task.result()
            self._fail(cause if isinstance(cause, BaseException) else RuntimeError(f"{task.get_name()} ended"))

    def _fail(self, cause: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_result(cause)

    async def _start(self, settings: Settings) -> None:
        push = self._stack.push_async_callback
        directory = settings.data
        self._stack.callback(DirectoryLock(directory).release)
        xrpc_socket = bind(settings.host, settings.port, "port")
        plc_socket = bind(settings.host, settings.plc_port, "plc_port")
        ops_socket = bind(settings.host, settings.ops_port, "ops_port")
        for bound in (xrpc_socket, plc_socket, ops_socket):
            self._stack.callback(bound.close)
        xrpc_port = xrpc_socket.getsockname()[1]
        config = _server_config(settings, xrpc_port)
        registry = self.registry
        metrics = HttpMetrics(registry)
        catalogue = lexicon.load()

        plc: PlcClient
        if settings.plc_url is None:
            plc = own = PlcDirectory(directory / "plc.sqlite")
            push(own.close)
            plc_runner = web.AppRunner(build_plc_app(own), access_log=None, shutdown_timeout=_PRIVATE_SECONDS)
            push(plc_runner.cleanup)
            await listen(plc_runner, plc_socket)
        else:
            plc = remote = PlcHttp(settings.plc_url)
            push(remote.close)

        log = await SqliteLog.open(
            directory / "log.sqlite", shards=settings.shards, committed=CommitMetrics(registry).committed
        )
        push(log.close)
        self._run(log.stopped(), "log")

        private = LOOPBACK if settings.allow_private_addresses else ()
        fetcher = Fetcher(AddressGuard(private), allow_http=settings.allow_private_addresses)
        push(fetcher.close)
        local = _LateLocalHandles()
        handles = HandleResolver(DnsTxt(), fetcher, local, settings.handle_domains)
        resolver = IdentityResolver(plc, handles, fetcher, allow_localhost=settings.allow_private_addresses)
        push(resolver.close)
        pds = await Pds.open(
            Parts(
                directory,
                log=log,
                foreign=log,
                plc=plc,
                resolver=resolver,
                catalogue=catalogue,
                service_did=config.service_did,
                public_url=config.public_url,
                settings=_pds_settings(settings),
            )
        )
        push(pds.close)
        self._run(pds.stopped(), "pds")
        local.pds = pds

        store = SqliteStore(directory / "views.sqlite", [view.table for view in views.ALL])
        push(store.close)
        cached = CachedStore(store)
        runner = EmbeddedRunner(log, cached.behind, views.ALL, _fanout_settings(settings), self._fail)
        await runner.start()
        push(runner.stop)
        self._run(keep_up(log, pds, runner, unix_micros), "upkeep")
        ProcessCollector(registry=registry)
        registry.register(HostCollector(pds, resolver))
        registry.register(NetworkCollector(config.version, log, runner, unix_micros))

        hub = FirehoseHub(log, pds.hosts)
        self._run(hub.run(), "firehose")
        services = Services(
            appview=AppViewReader(cached, config.image_url),
            catalogue=catalogue,
            config=config,
            firehose=hub,
            fresh=ReadYourWrites(runner, log.newest, metrics),
            log=log,
            metrics=metrics,
            now=unix_micros,
            pds=pds,
            resolver=resolver,
        )
        audiences = {config.service_did, config.appview_did, f"{config.appview_did}#bsky_appview"}
        authenticator = Authenticator(pds.tokens, resolver, audiences, config.admin_token)
        limiter = RateLimiter(time.time, scale=settings.rate_limit_scale) if settings.rate_limits else None
        dispatcher = Dispatcher(
            catalogue, services, authenticator, metrics, pds=apps.PDS, views=apps.VIEWS, limiter=limiter
        )
        server = PublicServer(
            services,
            dispatcher,
            pages=well_known.pages(services, pds.local_handle),
            prefixes={images.PREFIX: images.handler(pds)},
        )
        handler = web.Server(server.handle, access_log=None, max_line_size=HEAD_MAX, max_field_size=HEAD_MAX)
        public = web.ServerRunner(handler, shutdown_timeout=_PUBLIC_SECONDS)
        push(public.cleanup)
        self._stack.callback(hub.close)
        await listen(public, xrpc_socket)

        feed = self.ingest = partial(take_upload, log=log, resolver=resolver, hosted=pds.hosts, metrics=metrics)
        ops = build_ops_app(
            registry=registry,
            status=partial(_status, self, log, runner),
            ready=lambda: runner.ready and not self._failure.done(),
            token=config.ops_token,
            ingest_frames=partial(feed, "frames"),
            ingest_car=partial(feed, "car"),
        )
        ops_runner = web.AppRunner(ops, access_log=None, shutdown_timeout=_PRIVATE_SECONDS)
        push(ops_runner.cleanup)
        await listen(ops_runner, ops_socket)
        self.addresses = {
            "xrpc": address(xrpc_socket),
            "plc": settings.plc_url or address(plc_socket),
            "ops": address(ops_socket),
        }


class _LateLocalHandles:
    """Resolution needs the PDS's handles, the PDS needs resolution: the PDS is put in once it stands."""

    def __init__(self) -> None:
        self.pds: Pds | None = None

    async def __call__(self, handle: Handle) -> Did | None:
        return None if self.pds is None else await self.pds.local_handle(handle)


def _server_config(settings: Settings, port: int) -> ServerConfig:
    service_did = f"did:web:{settings.hostname}"
    public_url = (settings.public_url or f"http://{settings.hostname}:{port}").rstrip("/")
    return ServerConfig(
        hostname=settings.hostname,
        public_url=public_url,
        service_did=service_did,
        appview_did=settings.appview_did or service_did,
        handle_domains=settings.handle_domains,
        admin_token=secrets.admin_token(settings.data),
        ops_token=secrets.ops_token(settings.data),
        version=version("headrace"),
        blob_limit=settings.blob_limit,
        json_limit=settings.json_limit,
        trust_forwarded=settings.trust_forwarded,
        image_url=(settings.image_url or public_url).rstrip("/"),
    )


def _pds_settings(settings: Settings) -> PdsSettings:
    return PdsSettings(
        handle_domains=settings.handle_domains,
        blob_limit=settings.blob_limit,
        open_files=settings.open_files,
        rate_limits=settings.rate_limits,
        rate_limit_scale=settings.rate_limit_scale,
    )


def _fanout_settings(settings: Settings) -> FanoutSettings:
    return FanoutSettings(
        pull_above=settings.pull_above,
        backfill=settings.timeline_backfill,
        keep=settings.timeline_length,
        trim_every=settings.timeline_trim_every,
    )


def _status(network: Network, log: SqliteLog, runner: EmbeddedRunner) -> dict[str, Any]:
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
            "reached": [reached for _, reached in sorted(runner.vector().items())],
            "behind": runner.behind(),
        },
        "firehose": {"oldest_seq": oldest, "newest_seq": newest, "oldest_time": oldest_time},
    }


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
