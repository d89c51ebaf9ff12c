"""A store whose rows are kept for a moment, for readers of what other processes write. HOT.

What is kept is answered for `seconds` after its reading began, and to nobody who demands what is newer (`since`): so
says a writer who is to see the own write, whose moment is when all views were found to hold it. Absences are kept too,
but of posts: a page's place in a timeline may be told before the post it is of. Readers who miss the same key at once
share one reading; that there is no post is told only to who asked before it began. Of accounts whose partition is small
all of it is kept, so that any question about it is answered.

Never kept: rows of timelines, whose completeness (`complete_since`) must not be older than they are, and what only one
reader asks (likes, follows, operations). Does not own when readers may be shown what (docs/decisions/0021).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from views import (
    actors,
    author_feed,
    blocked_by,
    blocks_by_actor,
    followers,
    follows_by_actor,
    handles,
    interactions,
    posts,
    recent_by_author,
    reposts_by_actor,
    restrictions,
    thread,
)
from views.recent_rows import UNKEPT, Recent, Tally, by_beginning, size_of
from views.store import Batch, Remote, Store
from views.table import Key, Row, Table

_MIB: Final = 1 << 20


class Keep(NamedTuple):
    """How much of a table is kept, in bytes of each kind."""

    rows: int = 0
    statics: int = 0
    slices: int = 0
    absent: bool = True
    """Whether it is kept of a key that it has no row."""
    whole: int = 0
    """Partitions of fewer rows than this are kept whole, in `whole_bytes`."""
    whole_bytes: int = 0


# 64 MiB in all.
PLAN: Final[Mapping[Table, Keep]] = {
    posts.TABLE: Keep(rows=12 * _MIB, absent=False),
    actors.TABLE: Keep(rows=6 * _MIB),
    reposts_by_actor.TABLE: Keep(rows=2 * _MIB),
    restrictions.TABLE: Keep(rows=4 * _MIB, whole=32, whole_bytes=8 * _MIB),
    blocks_by_actor.TABLE: Keep(rows=2 * _MIB, whole=64, whole_bytes=4 * _MIB),
    blocked_by.TABLE: Keep(rows=2 * _MIB, whole=64, whole_bytes=4 * _MIB),
    interactions.TABLE: Keep(statics=4 * _MIB),
    followers.TABLE: Keep(statics=_MIB),
    follows_by_actor.TABLE: Keep(statics=_MIB),
    author_feed.TABLE: Keep(statics=_MIB, slices=4 * _MIB),
    recent_by_author.TABLE: Keep(slices=4 * _MIB),
    thread.TABLE: Keep(slices=4 * _MIB),
    handles.TABLE: Keep(slices=_MIB),
}
_LARGE_SECONDS: Final = 60.0  # for so long nobody looks whether a partition that was large has become small
_LARGE_BYTES: Final = _MIB // 4

Read = Callable[[list[Any]], Awaitable[Sequence[Any]]]
Size = Callable[[Any], int]


class _Flight:
    """A reading that is under way, for who reads and all who join. `rows` is None when whoever read was cut off."""

    __slots__ = ("begun", "done", "error", "rows")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.done = asyncio.Event()
        self.rows: dict[Any, Any] | None = None
        self.error: Exception | None = None


class RecentStore:
    """`views.store.Store` for readers, over one generation. `now` is the clock of `since`."""

    def __init__(
        self,
        store: Remote,
        seconds: float,
        plan: Mapping[Table, Keep] = PLAN,
        *,
        tallies: dict[str, Tally] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self.seconds = seconds
        self.now = now
        self._plan = plan
        tallies = {} if tallies is None else tallies
        tally = {table: tallies.setdefault(table.name, Tally()) for table in plan}
        self._rows = {table: Recent(keep.rows, tally[table]) for table, keep in plan.items() if keep.rows}
        self._statics = {table: Recent(keep.statics, tally[table]) for table, keep in plan.items() if keep.statics}
        self._size: dict[Table, Size] = {
            table: size_of if keep.absent else _present_size for table, keep in plan.items()
        }
        self._slices = {table: Recent(keep.slices, tally[table]) for table, keep in plan.items() if keep.slices}
        self._wholes = {table: Recent(keep.whole_bytes, tally[table]) for table, keep in plan.items() if keep.whole}
        # Partitions that are read by key, as they were large when they were looked at.
        self._large = {table: Recent(_LARGE_BYTES, Tally()) for table in self._wholes}
        self.progress = store.progress

    @property
    def kept_bytes(self) -> dict[str, int]:
        """By table, about."""
        kinds = (self._rows, self._statics, self._slices, self._wholes)
        return {table.name: sum(kind[table].size for kind in kinds if table in kind) for table in self._plan}

    def since(self, moment: float) -> Store:
        """The same, for who is to be shown nothing whose reading began before `moment`."""
        return self if moment <= self.now() - self.seconds else _Since(self, moment)

    async def get_many(self, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        return await self.rows_since(0.0, table, keys)

    async def statics(self, table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        return await self.statics_since(0.0, table, partitions)

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
        return await self.slice_since(0.0, table, partition, after=after, until=until, limit=limit, reverse=reverse)

    async def apply(self, batch: Batch) -> None:
        raise NotImplementedError("rows are kept for readers of what other processes write")

    async def rows_since(self, moment: float, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        kept = self._rows.get(table)
        if kept is None:
            return await self._store.get_many(table, keys)
        oldest = max(moment, self.now() - self.seconds)
        if table in self._wholes:
            return await self._in_wholes(table, keys, oldest)
        return await self._read(kept, keys, oldest, partial(self._store.get_many, table), self._size[table])

    async def statics_since(self, moment: float, table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        kept = self._statics.get(table)
        if kept is None:
            return await self._store.statics(table, partitions)
        oldest = max(moment, self.now() - self.seconds)
        return await self._read(kept, partitions, oldest, partial(self._store.statics, table), size_of)

    async def slice_since(
        self,
        moment: float,
        table: Table,
        partition: Key,
        *,
        after: Key | None,
        until: Key | None,
        limit: int,
        reverse: bool,
    ) -> list[Row]:
        """Of a partition its beginning is kept, as it was asked for."""
        read = partial(self._store.slice, table, partition, until=until, limit=limit, reverse=reverse)
        kept = self._slices.get(table)
        if kept is None or after is not None:
            return await read(after=after)

        async def beginning(_asked: list[Any]) -> list[list[Row]]:
            return [await read()]

        oldest = max(moment, self.now() - self.seconds)
        (rows,) = await self._read(kept, ((partition, until, limit, reverse),), oldest, beginning, _rows_size)
        found: list[Row] = rows.copy()
        return found

    async def _in_wholes(self, table: Table, keys: Sequence[Key], oldest: float) -> list[Row | None]:
        """By partitions, as far as they are not large."""
        size = table.partition_size
        by_partition: dict[Key, list[int]] = {}
        for place, key in enumerate(keys):
            by_partition.setdefault(key[:size], []).append(place)
        partitions = list(by_partition)
        large = self._large[table]
        _, small = large.find(partitions, self.now() - _LARGE_SECONDS)
        if len(small) < len(partitions):
            partitions = [partitions[place] for place in small]
        found: list[Row | None] = [None] * len(keys)
        wholes = await self._read(
            self._wholes[table], partitions, oldest, partial(self._read_wholes, table), _whole_size
        )
        for partition, rows in zip(partitions, wholes, strict=True):
            if rows is not None:
                for place in by_partition.pop(partition):
                    found[place] = rows.get(keys[place])
        if by_partition:
            apart = [place for places in by_partition.values() for place in places]
            read = partial(self._store.get_many, table)
            rows = await self._read(
                self._rows[table], [keys[place] for place in apart], oldest, read, self._size[table]
            )
            for place, row in zip(apart, rows, strict=True):
                found[place] = row
        return found

    async def _read_wholes(self, table: Table, partitions: list[Key]) -> list[Mapping[Key, Row] | None]:
        """None for one that is too large to be kept whole."""
        most, now = self._plan[table].whole, self.now()
        found: list[Mapping[Key, Row] | None] = []
        answers = await self._store.beginnings(table, partitions, limit=most)
        for partition, rows in zip(partitions, answers, strict=True):
            if len(rows) < most:
                found.append(by_beginning(rows, table.key_size) if rows else _NOTHING)
            else:
                found.append(None)
                self._large[table].keep(partition, True, size_of(None), now, now)
        return found

    async def _read(self, kept: Recent, keys: Sequence[Any], oldest: float, read: Read, size: Size) -> list[Any]:
        """In the order of the keys; what is not kept is read, or waited for where somebody reads it already."""
        found, missing = kept.find(keys, oldest)
        came = self.now()
        while missing:
            joined: dict[_Flight, list[int]] = {}
            own: list[int] = []
            under_way = kept.under_way
            for place in missing:
                flight = under_way.get(keys[place])
                if flight is None or flight.begun < oldest:
                    own.append(place)
                else:
                    joined.setdefault(flight, []).append(place)
            if own:
                asked = [keys[place] for place in own]
                for place, row in zip(own, await self._fly(kept, asked, read, size), strict=True):
                    found[place] = row
            missing = []
            for flight, places in joined.items():
                await flight.done.wait()
                if flight.error is not None:
                    raise flight.error
                if flight.rows is None:
                    missing += places
                    continue
                kept.tally.joined += len(places)
                for place in places:
                    found[place] = flight.rows[keys[place]]
                if size is _present_size and flight.begun < came:
                    # Who came later may have been told of what was not there yet.
                    missing += [place for place in places if found[place] is None]
            if missing:
                oldest = max(oldest, came)
                since, left = kept.find([keys[place] for place in missing], oldest)
                for place, row in zip(missing, since, strict=True):
                    found[place] = row
                missing = [missing[at] for at in left]
        return found

    async def _fly(self, kept: Recent, asked: list[Any], read: Read, size: Size) -> Sequence[Any]:
        begun = self.now()
        flight = _Flight(begun)
        under_way = kept.under_way
        under_way.update(dict.fromkeys(asked, flight))
        kept.tally.misses += len(asked)
        try:
            rows = await read(asked)
        except Exception as error:
            flight.error = error
            raise
        else:
            flight.rows = dict(zip(asked, rows, strict=True))
            oldest = self.now() - self.seconds
            for key, row in flight.rows.items():
                kept.keep(key, row, size(row), begun, oldest)
        finally:
            for key in asked:
                if under_way.get(key) is flight:
                    del under_way[key]
            flight.done.set()
        return rows


class _Since:
    """`RecentStore.since`."""

    def __init__(self, store: RecentStore, moment: float) -> None:
        self.progress = store.progress
        self.apply = store.apply
        self.get_many = partial(store.rows_since, moment)
        self.statics = partial(store.statics_since, moment)
        self._store = store
        self._moment = moment

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
        return await self._store.slice_since(
            self._moment, table, partition, after=after, until=until, limit=limit, reverse=reverse
        )


_NOTHING: Final[Mapping[Key, Row]] = {}


def _present_size(row: Row | None) -> int:
    return UNKEPT if row is None else size_of(row)


def _rows_size(rows: Sequence[Row]) -> int:
    return size_of(None) + sum(map(size_of, rows))


def _whole_size(rows: Mapping[Key, Row] | None) -> int:
    return UNKEPT if rows is None else _rows_size(list(rows.values()))
