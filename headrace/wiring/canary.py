"""The composition root of a canary: an account of its own that posts and looks, over public HTTP."""

from __future__ import annotations

import time
from typing import Any

import structlog

from headrace import secrets
from headrace.canary import Canary, ServerAwayError
from headrace.canary_servers import HttpServers
from headrace.lock import DirectoryLock
from headrace.metrics.canary import CanaryMetrics
from headrace.metrics.directory import DirectoryCollector
from headrace.running import Running
from headrace.settings import Settings
from headrace.wiring import shared
from headrace.wiring.cluster import about, role_metrics

_log = structlog.get_logger()


async def start(running: Running, settings: Settings) -> None:
    running.callback(DirectoryLock(settings.data).release)
    ops = running.bind(settings.host, settings.ops_port, "ops_port")
    assert settings.canary_pds is not None, "the role's needs were checked"
    assert settings.canary_handle is not None, "the role's needs were checked"
    servers = HttpServers(
        settings.canary_pds,
        settings.appview_url or settings.canary_pds,
        settings.canary_handle,
        secrets.canary_password(settings),
    )
    running.push(servers.close)
    try:
        await servers.log_in()
    except ServerAwayError as error:  # the rounds log in when they can
        _log.warning("canary.waits", error=str(error))
    metrics = CanaryMetrics(running.registry, time.time)
    canary = Canary(
        servers,
        metrics.ended,
        every=settings.canary_seconds,
        wait=settings.canary_wait_seconds,
        clock=time.monotonic,
    )
    running.keep(canary.run(), "canary")
    role_metrics(running, settings)
    running.registry.register(DirectoryCollector(settings.data))

    def status() -> dict[str, Any]:
        return {**about(running), "canary": {"handle": settings.canary_handle, "pds": settings.canary_pds}}

    await shared.serve_ops(running, ops, status=status, ready=lambda: True)
