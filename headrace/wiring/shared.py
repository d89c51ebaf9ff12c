"""What a network in one process and the roles of a cluster are wired of alike: listeners, identity, settings of parts.

Each function makes one part, says what ends it, and picks no store or log. Holds no logic.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from socket import socket
from typing import Any, TypedDict

from aiohttp import web

from api.auth import Authenticator
from api.config import ServerConfig
from api.dispatch import Dispatcher
from api.gate import Limits
from api.ops import Status, build_ops_app
from api.plc.app import build_plc_app
from api.server import HEAD_MAX, Handler, PublicServer
from api.xrpc import Endpoint, Services
from headrace import logs, secrets
from headrace.metrics.calls import FetchCollector
from headrace.metrics.identity import IdentityCollector
from headrace.running import Running
from headrace.settings import Settings
from ingest.identity import plc_paced
from ingest.identity.dns_txt import DnsTxt
from ingest.identity.fetch import Fetcher
from ingest.identity.handles import HandleResolver
from ingest.identity.kept_documents import KeptDocuments
from ingest.identity.plc_client import PlcClient, PlcHttp
from ingest.identity.plc_mirror import PlcMirror
from ingest.identity.plc_mirror_store import MirrorStore
from ingest.identity.plc_paced import PacedPlc
from ingest.identity.plc_store import PlcDirectory
from ingest.identity.resolver import IdentityResolver
from ingest.identity.ssrf import LOOPBACK, AddressGuard
from ingest.identity.swr_cache import Bounds
from ingest.pds.rate_limit import RateLimiter
from ingest.pds.settings import PdsSettings
from schemas.syntax import Did, Handle
from views.view import FanoutSettings

# What requests under way are given to end in, listener by listener: with the rest, less than 5 s.
PUBLIC_SECONDS = 2.0
PRIVATE_SECONDS = 0.75
# A turn at the directory, and its answer.
DIDS = Bounds(timeout=20.0)


def unix_micros() -> int:
    return time.time_ns() // 1000


class LateLocalHandles:
    """Resolution needs the PDS's handles, the PDS needs resolution: `ask` is put in once the PDS stands."""

    def __init__(self) -> None:
        self.ask: Callable[[Handle], Awaitable[Did | None]] | None = None

    async def __call__(self, handle: Handle) -> Did | None:
        return None if self.ask is None else await self.ask(handle)


async def nobody(_handle: Handle) -> Did | None:
    """Who holds a handle at a server without accounts."""
    return None


async def serve_plc(running: Running, directory: Path, bound: socket) -> PlcDirectory:
    """The did:plc directory, and its listener."""
    own = PlcDirectory(directory / "plc.sqlite")
    running.push(own.close)
    app = build_plc_app(own)
    await running.listen("plc", web.AppRunner(app, access_log=None, shutdown_timeout=PRIVATE_SECONDS), bound)
    return own


def plc_client(running: Running, url: str) -> PacedPlc:
    """A directory elsewhere, which is spared while it is slow or fails."""
    remote = PlcHttp(url)
    running.push(remote.close)
    return PacedPlc(remote)


def identity(
    running: Running, settings: Settings, plc: PlcClient, local: LateLocalHandles | None, *, keep: bool = True
) -> IdentityResolver:
    """`local` answers for handles under our own domains; without it nothing is local.

    `keep`: what is learnt survives the process, in its data directory, and so may a mirror. Raises InvariantError.
    """
    private = LOOPBACK if settings.allow_private_addresses else ()
    fetcher = Fetcher(AddressGuard(private), allow_http=settings.allow_private_addresses)
    running.push(fetcher.close)
    handles = HandleResolver(DnsTxt(settings.dns_servers), fetcher, local, settings.handle_domains)
    kept, mirror, url = None, None, settings.plc_url
    # A directory in this process is as quick as a file, and never older.
    if keep and settings.plc_mirror and url is not None:
        mirror = _mirror(running, settings, url)
    if keep and settings.identity_cache_rows and url is not None:
        kept = KeptDocuments(settings.data / "identities.sqlite", settings.identity_cache_rows)
        running.push(kept.close)
        running.keep(kept.run(), "identities")
    resolver = IdentityResolver(
        plc, handles, fetcher, allow_localhost=settings.allow_private_addresses, dids=DIDS, kept=kept, mirror=mirror
    )
    running.push(resolver.close)
    if isinstance(plc, PacedPlc):
        running.queue("plc_directory", lambda: plc.waiting, plc_paced.MAX_WAITING)
    running.registry.register(FetchCollector(fetcher.fetches))
    running.registry.register(IdentityCollector(kept, plc if isinstance(plc, PacedPlc) else None, mirror))
    return resolver


def _mirror(running: Running, settings: Settings, url: str) -> PlcMirror:
    export = PlcHttp(url, timeout=60.0)
    running.push(export.close)
    store = MirrorStore(settings.data / "plc_mirror.sqlite", url.rstrip("/"))
    mirror = PlcMirror(store, export, rate=settings.plc_mirror_rate, lag=settings.plc_mirror_lag)
    running.callback(mirror.close)
    running.keep(mirror.run(), "plc mirror")
    return mirror


def server_config(
    settings: Settings,
    bound: socket,
    *,
    admin_token: str = "",
    ops_token: str = "",
    offers: tuple[str, ...] = ("pds", "appview"),
) -> ServerConfig:
    """`bound` has the port that the public address ends in, unless `public_url` says otherwise."""
    service_did = f"did:web:{settings.hostname}"
    public_url = (settings.public_url or f"http://{settings.hostname}:{bound.getsockname()[1]}").rstrip("/")
    return ServerConfig(
        hostname=settings.hostname,
        public_url=public_url,
        service_did=service_did,
        appview_did=settings.appview_did or service_did,
        handle_domains=settings.handle_domains,
        admin_token=admin_token,
        ops_token=ops_token,
        version=version("headrace"),
        blob_limit=settings.blob_limit,
        json_limit=settings.json_limit,
        trust_forwarded=settings.trust_forwarded,
        image_url=(settings.image_url or public_url).rstrip("/"),
        offers=offers,
    )


class Tokens(TypedDict):
    admin_token: str
    ops_token: str


def tokens(settings: Settings) -> Tokens:
    """What a process with a data directory tells `server_config`."""
    return {"admin_token": secrets.admin_token(settings), "ops_token": secrets.ops_token(settings.data)}


def audiences(config: ServerConfig) -> Collection[str]:
    """The names that service tokens may address a server by that is PDS and AppView."""
    return {config.service_did, *appview_names(config)}


def appview_names(config: ServerConfig) -> Collection[str]:
    return {config.appview_did, f"{config.appview_did}#bsky_appview"}


def pds_settings(settings: Settings) -> PdsSettings:
    return PdsSettings(
        handle_domains=settings.handle_domains,
        blob_limit=settings.blob_limit,
        open_files=settings.open_files,
        rate_limits=settings.rate_limits,
        rate_limit_scale=settings.rate_limit_scale,
    )


def fanout_settings(settings: Settings) -> FanoutSettings:
    return FanoutSettings(
        pull_above=settings.pull_above,
        backfill=settings.timeline_backfill,
        keep=settings.timeline_length,
        trim_every=settings.timeline_trim_every,
    )


async def serve_public(
    running: Running,
    settings: Settings,
    services: Services,
    bound: socket,
    *,
    authenticator: Authenticator,
    pds: Iterable[Endpoint] = (),
    views: Iterable[Endpoint] = (),
    pages: Mapping[str, Handler],
    prefixes: Mapping[str, Handler] | None = None,
    actions: Mapping[str, Handler] | None = None,
    limit_accounts: bool = False,
) -> Dispatcher:
    """The XRPC listener, with these endpoints and pages beside them."""
    limiter = RateLimiter(time.time, scale=settings.rate_limit_scale) if settings.rate_limits else None
    dispatcher = Dispatcher(
        services.catalogue,
        services,
        authenticator,
        services.metrics,
        pds=pds,
        views=views,
        limiter=limiter,
        limit_accounts=limit_accounts,
        limits=Limits(settings.requests_at_once, settings.requests_waiting, settings.request_wait),
    )
    server = PublicServer(
        services,
        dispatcher,
        pages=pages,
        prefixes=prefixes,
        actions=actions,
        trust_callers=settings.otlp_trust_callers,
    )
    handler = web.Server(server.handle, access_log=None, max_line_size=HEAD_MAX, max_field_size=HEAD_MAX)
    await running.listen("xrpc", web.ServerRunner(handler, shutdown_timeout=PUBLIC_SECONDS), bound)
    return dispatcher


async def serve_ops(
    running: Running,
    bound: socket,
    *,
    status: Status,
    ready: Callable[[], bool],
    stalled: Callable[[], str | None] = lambda: None,
    token: str = "",
    hooks: Mapping[str, Callable[[AsyncIterator[bytes]], Awaitable[dict[str, Any]]]] | None = None,
    river: Callable[[], Awaitable[dict[str, Any]]] | None = None,
) -> None:
    """The operators' listener."""

    async def said() -> dict[str, Any]:
        found = status()
        return {**(found if isinstance(found, dict) else await found), "errors": logs.newest_errors()}

    app = build_ops_app(
        registry=running.registry,
        status=said,
        ready=lambda: running.healthy and ready(),
        # A process that has failed ends by itself; one whose end hangs is ended.
        stalled=lambda: stalled() if running.healthy else "a part has stopped by itself",
        version=version("headrace"),
        token=token,
        hooks=hooks,
        river=river,
    )
    await running.listen("ops", web.AppRunner(app, access_log=None, shutdown_timeout=PRIVATE_SECONDS), bound)
