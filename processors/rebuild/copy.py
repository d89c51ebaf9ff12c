"""One generation of one process while it is kept up: its file, its runner, and how both end.

Does not own which generations there are (`processors.rebuild.embedded`).
"""

from __future__ import annotations

import asyncio
import weakref
from pathlib import Path

import structlog

from processors.run_embedded import EmbeddedRunner
from views.store_cached import CachedStore
from views.store_sqlite import SqliteStore

_READERS_SECONDS = 10.0  # that a drop waits for requests under way

_log = structlog.get_logger(__name__)


class Copy:
    """One generation that is kept up."""

    def __init__(self, name: str, path: Path, store: SqliteStore, runner: EmbeddedRunner, cached: CachedStore) -> None:
        self.name = name
        self.path = path
        self.store = store
        self.runner = runner
        self.cached = cached
        self.ready: asyncio.Task[None] | None = None


async def stop(copy: Copy) -> None:
    await copy.runner.stop()
    if copy.ready is not None:
        copy.ready.cancel()
        await asyncio.wait((copy.ready,))


async def unread(cached: weakref.ref[CachedStore]) -> None:
    """Return when no request holds on to it any more (each ends with what it began with), or after a bound."""
    if cached() is None:
        return
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    last = weakref.finalize(cached(), loop.call_soon, gone.set)
    try:
        async with asyncio.timeout(_READERS_SECONDS):
            await gone.wait()
    except TimeoutError:
        _log.warning("views.still_read")
    finally:
        last.detach()


def unlink(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
