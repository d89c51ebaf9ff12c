"""A store across a network, asked a bounded number of statements at once by the whole process.

A call for many keys goes in pieces, a few at a time, and pieces of all calls take turns: a request for 20,000 keys
delays others by a piece each, and holds no more than its share. Keys of one partition stay together, as the store asks
for them together. What has waited for its turn and the answer for ANSWER_SECONDS is 503. Only reads. Does not own the
statements.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Final, TypeVar

from api.errors import unavailable
from views.store import Batch, Progress, Remote
from views.table import Key, Row, Table

PIECE = 32  # partitions, hence statements, at once for one turn
_LARGE = 8 * PIECE  # keys of one turn
_TURNS = 2  # of one call
ANSWER_SECONDS = 4.0  # for one turn, with the wait for it
_NO_TURNS: Final[AbstractAsyncContextManager[None]] = nullcontext()

T = TypeVar("T")
Read = Callable[[Table, Sequence[Key]], Awaitable[list[T]]]


class GatedStore:
    """`views.store.Remote` for readers; at most `statements` are under way. `away`: the store's word for no answer."""

    def __init__(
        self, store: Remote, statements: int, away: type[Exception], *, seconds: float = ANSWER_SECONDS
    ) -> None:
        self._store = store
        self._away = away
        self._seconds = seconds
        self._pieces = asyncio.Semaphore(max(1, statements // (2 * PIECE)))
        self._slices = asyncio.Semaphore(max(1, statements // 2))

    async def get_many(self, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        return await self._in_pieces(self._store.get_many, table, keys)

    async def statics(self, table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        return await self._in_pieces(self._store.statics, table, partitions)

    async def beginnings(self, table: Table, partitions: Sequence[Key], *, limit: int) -> list[list[Row]]:
        return await self._in_pieces(partial(self._store.beginnings, limit=limit), table, partitions)

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
        async with self._turn(self._slices):
            return await self._store.slice(table, partition, after=after, until=until, limit=limit, reverse=reverse)

    async def progress(self) -> Progress:
        async with self._turn(_NO_TURNS):
            return await self._store.progress()

    async def apply(self, batch: Batch) -> None:
        raise NotImplementedError("an AppView reads: processors write")

    async def _in_pieces(self, read: Read[T], table: Table, keys: Sequence[Key]) -> list[T]:
        if len(keys) <= PIECE:
            return await self._piece(read, table, keys)
        found: dict[int, T] = {}
        pieces = _pieces(keys, table.partition_size)

        async def one(places: list[int]) -> None:
            rows = await self._piece(read, table, [keys[place] for place in places])
            found.update(zip(places, rows, strict=True))

        for start in range(0, len(pieces), _TURNS):
            await asyncio.gather(*map(one, pieces[start : start + _TURNS]))
        return [found[place] for place in range(len(keys))]

    async def _piece(self, read: Read[T], table: Table, keys: Sequence[Key]) -> list[T]:
        async with self._turn(self._pieces):
            return await read(table, keys)

    @asynccontextmanager
    async def _turn(self, turns: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
        """Whose client waits is told to come again. A store that stalls holds every turn: nobody waits for them all."""
        try:
            async with asyncio.timeout(self._seconds), turns:
                yield
        except (self._away, TimeoutError) as error:
            raise unavailable("The views cannot be read now; try again") from error


def _pieces(keys: Sequence[Key], size: int) -> list[list[int]]:
    """The places of keys, those of one partition beside one another, in pieces of so many partitions and keys."""
    partitions: dict[Key, list[int]] = {}
    for place, key in enumerate(keys):
        partitions.setdefault(key[:size], []).append(place)
    pieces: list[list[int]] = []
    held = PIECE
    for places in partitions.values():
        for start in range(0, len(places), _LARGE):
            some = places[start : start + _LARGE]
            if held == PIECE or len(pieces[-1]) + len(some) > _LARGE:
                pieces.append([])
                held = 0
            pieces[-1] += some
            held += 1
    return pieces
