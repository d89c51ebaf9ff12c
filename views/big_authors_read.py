"""The accounts whose posts readers pull: read once for all readers, and again when they may be others.

Does not own what makes an account one of them (`views.big_authors`).
"""

from __future__ import annotations

import asyncio
import time
from itertools import chain
from typing import Final

from views import big_authors
from views.store import Progress, Store
from views.table import Key

_AT_ONCE: Final = 1_000  # rows of a slice


class BigAuthors:
    """As of one progress of the views; or, where progress is another process's, at most `kept_seconds` old.

    So long may pages lack the posts of an author who has just become big.
    """

    def __init__(self, store: Store, kept_seconds: float | None = None) -> None:
        self._store = store
        self._kept_seconds = kept_seconds
        self._big: frozenset[str] = frozenset()
        self._big_at: Progress | None = None
        self._until = 0.0
        self._reading: asyncio.Future[None] | None = None

    async def all(self) -> frozenset[str]:
        if self._kept_seconds is None:
            progress = await self._store.progress()
            if progress is not self._big_at:
                self._big = frozenset(await self._read())
                self._big_at = progress
        elif time.monotonic() >= self._until:
            await self._renew(self._kept_seconds)
        return self._big

    async def _renew(self, seconds: float) -> None:
        """Read them once for all who wait for them; what is read belongs to the moment it began."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read_all(time.monotonic() + seconds))
            self._reading.add_done_callback(_heard)
        await asyncio.shield(self._reading)

    async def _read_all(self, until: float) -> None:
        found = await asyncio.gather(*(self._read_bucket(bucket) for bucket in range(big_authors.PARTITIONS)))
        self._big, self._until = frozenset(chain.from_iterable(found)), until

    async def _read(self) -> list[str]:
        found: list[str] = []
        for bucket in range(big_authors.PARTITIONS):
            found += await self._read_bucket(bucket)
        return found

    async def _read_bucket(self, bucket: int) -> list[str]:
        found: list[str] = []
        after: Key | None = None
        while True:
            rows = await self._store.slice(big_authors.TABLE, (bucket,), after=after, limit=_AT_ONCE)
            found += [row[1] for row in rows]
            if len(rows) < _AT_ONCE:
                return found
            after = rows[-1][1:2]


def _heard(reading: asyncio.Future[None]) -> None:
    if not reading.cancelled():
        reading.exception()  # who waits has been told
