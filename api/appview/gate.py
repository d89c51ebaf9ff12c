"""A store across a network, asked a bounded number of statements at once by the whole process.

A call for many keys goes in pieces, a few at a time, and pieces of all calls take turns: a request for 20,000 keys
delays others by a piece each, and holds no more than its share. Only reads. Does not own the statements.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from api.errors import unavailable
from views.store import Batch, Progress, Store
from views.table import Key, Row, Table

PIECE = 32  # keys, hence statements, at once for one turn
_TURNS = 2  # of one call

Read = Callable[[Table, Sequence[Key]], Awaitable[list[Row | None]]]


class GatedStore:
    """`views.store.Store` for readers; at most `statements` are under way. `away`: the store's word for no answer."""

    def __init__(self, store: Store, statements: int, away: type[Exception]) -> None:
        self._store = store
        self._away = away
        self._pieces = asyncio.Semaphore(max(1, statements // (2 * PIECE)))
        self._slices = asyncio.Semaphore(max(1, statements // 2))

    async def get_many(self, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        return await self._in_pieces(self._store.get_many, table, keys)

    async def statics(self, table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        return await self._in_pieces(self._store.statics, table, partitions)

    async def slice(
        self,
        table: Table,
        partition: Key,
        *,
        after: Key | None = None,
        until: Key | None = None,
        limit: int,
        reverse: bool = False,
    ) -> list[Row]:
        async with self._slices, self._told():
            return await self._store.slice(table, partition, after=after, until=until, limit=limit, reverse=reverse)

    async def progress(self) -> Progress:
        async with self._told():
            return await self._store.progress()

    async def apply(self, batch: Batch) -> None:
        raise NotImplementedError("an AppView reads: processors write")

    async def _in_pieces(self, read: Read, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        if len(keys) <= PIECE:
            return await self._piece(read, table, keys)
        found: list[Row | None] = []
        width = PIECE * _TURNS
        for start in range(0, len(keys), width):
            pieces = [keys[at : at + PIECE] for at in range(start, min(start + width, len(keys)), PIECE)]
            for rows in await asyncio.gather(*(self._piece(read, table, piece) for piece in pieces)):
                found += rows
        return found

    async def _piece(self, read: Read, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        async with self._pieces, self._told():
            return await read(table, keys)

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Whose client waits is told to come again."""
        try:
            yield
        except self._away as error:
            raise unavailable("The views cannot be read now; try again") from error
