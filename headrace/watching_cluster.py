"""What the page of the river is told of a cluster, by a processor: what the log and the views' progress say.

How much has passed each stage, what waits before it, lag and freshness; no more than a look a second however many look,
and the last one while broker or store is away. What other roles alone know (requests, subscribers) is left out, and the
page leaves it out too. Does not own the page (`api/ops_page.py`) nor the looks (`headrace/river.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from headrace.river import OVERDUE_SECONDS, River, Standing, lateness
from ingest.log_kafka.reach import AWAY
from schemas.topics import COMMITS, EDGES, FANOUT, OPERATIONS, RECORDS
from views.store_scylla import StoreUnavailableError
from views.view import View

_KEPT_SECONDS = 1.0
_WAIT_SECONDS = 3.0  # for a look; the page waits for 10
_STAGES = (COMMITS, RECORDS, EDGES, FANOUT)


class ClusterWatch:
    """`look` gives the answer, `close` ends a look under way. `ready`: whether this process does its part."""

    def __init__(
        self,
        version: str,
        river: River,
        *,
        generation: str,
        shards: int,
        views: Sequence[View],
        ready: Callable[[], bool],
    ) -> None:
        self._version = version
        self._river = river
        self._generation = generation
        self._shards = shards
        self._views = views
        self._ready = ready
        self._looking: asyncio.Task[None] | None = None

    async def look(self) -> dict[str, Any]:
        if self._looking is None and self._river.unseen >= _KEPT_SECONDS:
            self._looking = asyncio.create_task(self._once(), name="page of the river")
        if (looking := self._looking) is not None:
            await asyncio.wait((looking,), timeout=_WAIT_SECONDS)
            if looking.done():
                if looking is self._looking:
                    self._looking = None
                if not looking.cancelled():
                    looking.result()
        return self._told(self._river.last, self._river.unseen)

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))

    async def _once(self) -> None:
        try:
            await self._river.look()
        except (*AWAY, StoreUnavailableError):
            return  # it is said by `unseen`, and logged by those who look by the clock

    def _told(self, standing: Standing, unseen: float) -> dict[str, Any]:
        away = f"Broker or store has not answered for {unseen:.0f} s" if unseen > OVERDUE_SECONDS else None
        before, total = {OPERATIONS: self._waiting(standing, OPERATIONS)}, 0
        for topic in (RECORDS, EDGES, FANOUT):
            total += self._waiting(standing, topic)
            before[topic] = total
        return {
            "version": self._version,
            "at": round(time.monotonic() * 1000),
            "ready": away is None and self._ready(),
            "away": away,
            "generation": self._generation,
            "stages": {topic: standing.passed.get(topic, 0) for topic in _STAGES},
            "behind": standing.behind,
            "freshness": lateness(standing, unseen),
            "views": [{"view": view.name, "waiting": before[view.table.source]} for view in self._views],
            "shards": [self._shard(standing, shard) for shard in range(self._shards)],
        }

    def _waiting(self, standing: Standing, topic: str) -> int:
        return sum(standing.waiting.get((topic, shard), 0) for shard in range(self._shards))

    @staticmethod
    def _shard(standing: Standing, shard: int) -> dict[str, Any]:
        waiting = {topic: standing.waiting.get((topic, shard), 0) for topic in _STAGES}
        return {"shard": shard, **waiting, "age": standing.ages[shard] if shard < len(standing.ages) else 0.0}
