"""What the process does by the clock: drop from the log what no consumer needs any more.

Does not own what that is (`ingest.log_truncate`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from ingest.log_sqlite.log import SqliteLog
from ingest.pds.pds import Pds
from processors.rebuild.embedded import EmbeddedGenerations
from schemas.topics import OPERATIONS

_PERIOD_SECONDS = 600.0

_log = structlog.get_logger()


async def keep_short(log: SqliteLog, now: Callable[[], int]) -> None:
    """Until cancelled, of a log that has no consumers but subscribers: they have its window."""
    while True:
        await asyncio.sleep(_PERIOD_SECONDS)
        dropped = await log.truncate(commits={}, records={}, now=now())
        if dropped:
            _log.info("log truncated", rows=dropped)


async def keep_up(log: SqliteLog, pds: Pds, generations: EmbeddedGenerations, now: Callable[[], int]) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(_PERIOD_SECONDS)
        dropped = await log.truncate(
            commits={"pds": pds.checkpoints()},
            records=generations.progress(),
            operations=generations.progress(OPERATIONS),
            now=now(),
        )
        if dropped:
            _log.info("log truncated", rows=dropped)
