"""Audits of a cluster: who has a shard of `records` audits it, a pass at a time, while its generation is the one read.

A pass ends when the shard is lost: whoever has it then begins another. Does not own what a pass reads
(`processors.audit_kafka`) nor what is compared (`processors.audit`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection

import structlog

from ingest.log import LogAwayError
from ingest.log_kafka.reach import AWAY
from processors.audit_kafka import GivenUpError, ShardAudits
from views.store_scylla import StoreUnavailableError

LIVE_SECONDS = 5.0  # for so long what was live is taken to be it

_log = structlog.get_logger(__name__)


async def audit_shards(
    audits: ShardAudits,
    mine: Callable[[], Collection[int]],
    live: Callable[[], Awaitable[str | None]],
    generation: str,
    seconds: float,
) -> None:
    """Until cancelled: one of the shards that `mine` names, `seconds` after the last; never when that is 0.

    `live` names the generation that is read. What is away is tried again; what is wrong with us is raised.
    """
    reading = _Live(live, generation)
    while seconds:
        await asyncio.sleep(seconds)
        try:
            await _once(audits, mine, reading)
        except GivenUpError:
            continue
        except (*AWAY, LogAwayError, StoreUnavailableError) as error:
            _log.warning("views.not_audited", error=repr(error))
    await asyncio.Event().wait()


async def _once(audits: ShardAudits, mine: Callable[[], Collection[int]], reading: _Live) -> None:
    shards = sorted(mine())
    if not shards or not await reading():
        return
    shard = random.choice(shards)  # noqa: S311 - nothing to guess

    async def still() -> bool:
        return shard in mine() and await reading()

    await audits.audit(shard, still)


class _Live:
    """Whether the generation is the one that is read; asked once in a while, however often this is."""

    def __init__(self, live: Callable[[], Awaitable[str | None]], generation: str) -> None:
        self._ask = live
        self._generation = generation
        self._until = 0.0
        self._is = False

    async def __call__(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now >= self._until:
            self._is, self._until = await self._ask() == self._generation, now + LIVE_SECONDS
        return self._is
