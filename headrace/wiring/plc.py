"""The composition root of a did:plc directory."""

from __future__ import annotations

from headrace.lock import DirectoryLock
from headrace.metrics.directory import DirectoryCollector
from headrace.running import Running
from headrace.settings import Settings
from headrace.wiring import shared
from headrace.wiring.cluster import about, role_metrics


async def start(running: Running, settings: Settings) -> None:
    running.callback(DirectoryLock(settings.data).release)
    bound = running.bind(settings.host, settings.plc_port, "plc_port")
    ops = running.bind(settings.host, settings.ops_port, "ops_port")
    role_metrics(running, settings)
    running.registry.register(DirectoryCollector(settings.data))
    await shared.serve_plc(running, settings.data, bound)
    await shared.serve_ops(running, ops, status=lambda: about(running), ready=lambda: True)
