"""A store with the rows that are asked for again and again in memory, for the one process that also writes them. HOT.

Coherent because every write passes here: a batch first puts its keys out, and nothing read before it was applied is
kept, so that readers are told what the store would have said. Of a slice only its beginning is kept (no `after`), until
its partition is written. Where another process writes, this must not be used. `behind` is the store beneath with this
one's `apply`, for who reads each row once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from views import (
    actors,
    author_feed,
    big_authors,
    blocked_by,
    blocks_by_actor,
    followed_by,
    followers,
    follows_by_actor,
    handles,
    heads,
    interactions,
    likes_by_actor,
    operations,
    posts,
    recent_by_author,
    reposts_by_actor,
    restrictions,
    thread,
    timelines,
)
from views.store import Batch, Store
from views.table import Key, Row, Table

# Rows of each of two generations. A post or an account is 1 to 2 KB, the rest 0.3 to 0.5: about 75 MB in all when full.
KEPT: Final[Mapping[Table, int]] = {
    posts.TABLE: 4_096,
    actors.TABLE: 4_096,
    interactions.TABLE: 8_192,
    restrictions.TABLE: 24_576,
    likes_by_actor.TABLE: 8_192,
    reposts_by_actor.TABLE: 8_192,
    follows_by_actor.TABLE: 8_192,
    followed_by.TABLE: 8_192,
    blocks_by_actor.TABLE: 8_192,
    blocked_by.TABLE: 8_192,
    operations.TABLE: 4_096,
    # Of these only statics and single rows are asked for by key.
    author_feed.TABLE: 4_096,
    followers.TABLE: 4_096,
    heads.TABLE: 4_096,
    timelines.TABLE: 4_096,
}
# Rows of slices in each of two generations, 0.4 KB a row: at most 30 MB in all.
SLICED: Final[Mapping[Table, int]] = {
    timelines.TABLE: 12_288,
    author_feed.TABLE: 12_288,
    recent_by_author.TABLE: 4_096,
    thread.TABLE: 4_096,
    handles.TABLE: 2_048,
    big_authors.TABLE: 1_024,
    operations.TABLE: 8_192,
}
_LONGEST = 256  # rows of a slice that is kept
_ABSENT: Final[Any] = object()

Read = Callable[[Table, Sequence[Key]], Awaitable[list[Row | None]]]


class _Rows:
    """The rows of one table by key, absent ones too; what is asked again moves to the young generation."""

    __slots__ = ("limit", "old", "young")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.young: dict[Key, Row | None] = {}
        self.old: dict[Key, Row | None] = {}

    def get(self, keys: Sequence[Key]) -> tuple[list[Row | None], Sequence[int]]:
        """The rows, and the places of the keys that are not kept."""
        young, old = self.young, self.old
        get = young.get
        found = [get(key, _ABSENT) for key in keys]
        if _ABSENT not in found:
            return found, ()
        missing = []
        for place, key in enumerate(keys):
            if found[place] is _ABSENT:
                row = old.get(key, _ABSENT)
                if row is _ABSENT:
                    missing.append(place)
                else:
                    found[place] = young[key] = row
        if len(young) > self.limit:
            self._grow_old()
        return found, missing

    def keep(self, key: Key, row: Row | None) -> None:
        self.young[key] = row
        if len(self.young) > self.limit:
            self._grow_old()

    def _grow_old(self) -> None:
        self.old, self.young = self.young, {}

    def forget(self, key: Key) -> None:
        self.young.pop(key, None)
        self.old.pop(key, None)


class _Slices:
    """Beginnings of partitions as they were asked for; what is asked again moves to the young generation."""

    __slots__ = ("limit", "old", "rows", "width", "young")

    def __init__(self, limit: int, width: int) -> None:
        self.limit = limit
        self.width = width
        self.rows = 0
        self.young: dict[Key, dict[Key, list[Row]]] = {}
        self.old: dict[Key, dict[Key, list[Row]]] = {}

    def get(self, partition: Key, asked: Key) -> list[Row] | None:
        known = self.young.get(partition)
        if known is not None and asked in known:
            return known[asked]
        known = self.old.get(partition)
        found = None if known is None else known.get(asked)
        if found is not None:
            self.keep(partition, asked, found)
        return found

    def keep(self, partition: Key, asked: Key, rows: list[Row]) -> None:
        # An empty answer takes space too.
        self.rows += len(rows) + 1
        if self.rows > self.limit:
            self.rows = len(rows) + 1
            self.old, self.young = self.young, {}
        self.young.setdefault(partition, {})[asked] = rows

    def forget(self, partition: Key) -> None:
        self.young.pop(partition, None)
        self.old.pop(partition, None)


class CachedStore:
    """`views.store.Store`."""

    def __init__(self, store: Store, kept: Mapping[Table, int] = KEPT, sliced: Mapping[Table, int] = SLICED) -> None:
        self._store = store
        self._slices = {table: _Slices(limit, table.partition_size) for table, limit in sliced.items()}
        self._rows = {table: _Rows(limit) for table, limit in kept.items()}
        self._statics = {table: _Rows(limit) for table, limit in kept.items() if table.statics}
        # Odd while a batch is being applied.
        self._epoch = 0
        self.progress = store.progress

    @property
    def behind(self) -> Store:
        return _Behind(self._store, self)

    async def get_many(self, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        return await self._read(self._rows.get(table), table, keys, self._store.get_many)

    async def statics(self, table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        return await self._read(self._statics.get(table), table, partitions, self._store.statics)

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
        slices = self._slices.get(table)
        if slices is None or after is not None:
            return await self._store.slice(table, partition, after=after, until=until, limit=limit, reverse=reverse)
        whole = partition[: slices.width]
        asked = (partition, until, limit, reverse)
        found = slices.get(whole, asked)
        if found is None:
            epoch = self._epoch
            found = await self._store.slice(table, partition, until=until, limit=limit, reverse=reverse)
            if len(found) <= _LONGEST and epoch == self._epoch and not epoch & 1:
                slices.keep(whole, asked, found)
        return found.copy()

    async def apply(self, batch: Batch) -> None:
        self._epoch += 1
        try:
            self._forget(batch)
            await self._store.apply(batch)
        finally:
            self._epoch += 1

    async def _read(self, rows: _Rows | None, table: Table, keys: Sequence[Key], read: Read) -> list[Row | None]:
        if rows is None:
            return await read(table, keys)
        found, missing = rows.get(keys)
        if missing:
            epoch = self._epoch
            asked = [keys[place] for place in missing]
            answers = await read(table, asked)
            keep = epoch == self._epoch and not epoch & 1
            for place, key, row in zip(missing, asked, answers, strict=True):
                found[place] = row
                if keep:
                    rows.keep(key, row)
        return found

    def _forget(self, batch: Batch) -> None:
        for table, partitions in batch.rows.items():
            slices = self._slices.get(table)
            if slices is not None:
                for partition in partitions:
                    slices.forget(partition)
            rows = self._rows.get(table)
            if rows is not None:
                for partition, written in partitions.items():
                    for key in written:
                        whole = partition + key
                        rows.forget(whole)
                        # The first row that begins so may be another now.
                        rows.forget(whole[:-1])
        for table, statics in batch.statics.items():
            rows = self._statics.get(table)
            if rows is not None:
                for partition in statics:
                    rows.forget(partition)

    def size(self) -> int:
        """Rows kept by key, old ones included."""
        every = chain(self._rows.values(), self._statics.values())
        return sum(len(rows.young) + len(rows.old) for rows in every)


class _Behind:
    def __init__(self, store: Store, cached: CachedStore) -> None:
        self.get_many = store.get_many
        self.statics = store.statics
        self.slice = store.slice
        self.progress = store.progress
        self.apply = cached.apply
