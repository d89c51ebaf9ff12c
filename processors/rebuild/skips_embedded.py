"""Entries that an operator has had left out of the views of one process, with the reason, on record.

A skip holds from the next start on: what runs has passed the entry or stands at it. Does not own the stop that asks
for one (`processors.run_embedded`) nor how skips are kept (`views.generations_sqlite`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ingest.log import ViewSource
from schemas.topics import OPERATIONS, RECORDS, shard_of
from views.generations import REASON_MAX, GenerationError, Skip, skipped
from views.generations_sqlite import SqliteRegistry


class EmbeddedSkips:
    """Those on record; `read` before anything is asked."""

    def __init__(self, registry: SqliteRegistry, log: ViewSource, now: Callable[[], int]) -> None:
        self._registry = registry
        self._log = log
        self._now = now
        self._known: Sequence[Skip] = ()

    async def read(self) -> None:
        self._known = await self._registry.skips()

    def of_shard(self, shard: int, topic: str = RECORDS) -> frozenset[int]:
        return skipped(self._known, topic, shard)

    def of_account(self, did: str, topic: str) -> frozenset[int]:
        return self.of_shard(shard_of(did, self._log.shards), topic)

    async def put(self, topic: str, shard: int, offset: int, reason: str, held: Mapping[tuple[str, int], int]) -> Skip:
        """`held`: up to where the live views hold each shard. Raises GenerationError."""
        if topic not in (RECORDS, OPERATIONS):
            raise GenerationError(
                f"{topic!r} has nothing to skip: in one process it is {RECORDS} or {OPERATIONS}, hops are in memory"
            )
        if not 0 <= shard < self._log.shards:
            raise GenerationError(f"there is no {topic}[{shard}]: the log has shards 0 to {self._log.shards - 1}")
        if not await self._is_there(topic, shard, offset):
            raise GenerationError(f"there is no entry {topic}[{shard}]@{offset}: the message of what stopped names one")
        if held.get((topic, shard), 0) >= offset:
            raise GenerationError(
                f"the views hold {topic}[{shard}]@{offset} already: a skip would leave rebuilds unequal"
            )
        if not reason.strip() or len(reason) > REASON_MAX:
            raise GenerationError(f"expected a reason of 1 to {REASON_MAX} characters: it is kept on record")
        skip = Skip(topic, shard, offset, reason.strip(), self._now())
        await self._registry.skip(skip)
        await self.read()
        return skip

    async def _is_there(self, topic: str, shard: int, offset: int) -> bool:
        if offset < 1:
            return False
        if topic == RECORDS:
            return any(each.offset == offset for each in await self._log.read_records(shard, offset - 1, 1))
        return any(each.offset == offset for each in await self._log.read_operations(shard, offset - 1, 1))
