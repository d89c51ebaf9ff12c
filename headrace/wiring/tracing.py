"""Traces, where the settings ask for them: otherwise nothing of OpenTelemetry is loaded.

Does not own what a trace is (`schemas.tracing`) nor how it is sent (`headrace.tracing`).
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from headrace.running import Running
from headrace.settings import Settings, SettingsError
from schemas.tracing import install

if TYPE_CHECKING:
    from headrace.tracing import OtlpTracer


def trace(running: Running, settings: Settings, role: str) -> None:
    """Before any part of it is made, which ask for the tracer once. Raises SettingsError."""
    if settings.otlp_endpoint is None:
        return
    try:
        from headrace.tracing import OtlpTracer  # noqa: PLC0415 - an extra, of those who ask for it
    except ImportError as error:
        raise SettingsError(
            f"otlp_endpoint: expected OpenTelemetry's libraries, found {error}: pip install 'headrace[tracing]', or"
            " leave it unset"
        ) from error
    who = f"{socket.gethostname()}:{os.getpid()}"
    tracer = OtlpTracer(settings.otlp_endpoint, settings.otlp_share, f"headrace-{role}", who)
    install(tracer)
    running.push(_end, tracer)


async def _end(tracer: OtlpTracer) -> None:
    install(None)
    await asyncio.to_thread(tracer.close)
