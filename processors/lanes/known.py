"""What a lane knows of its partitions without asking: counts, first rows and merged rows that it read or wrote itself.

A lane alone writes its partitions (invariant 5), so what it has read or written stays true until it writes again; it
lives as long as the lane, and a lane that fails or loses its shard is done for. Two things may be ahead of a lane: what
a predecessor had half done, and a predecessor that does not know yet that it is one. Therefore:

1. A table is kept only if what follows from its values needs nothing else of the store. `recent_by_author` counts by
   the rows beside; and `followers` says to it whether follows behind a post were folded in before, which two that
   overlap must see alike (EXACTNESS 11). Both are read anew each time. And a count that first rows decide is never
   older than they: a partition whose first rows were asked for gives its statics anew, as a zombie may have written
   both, and not yet the before-images that would tell (`applied` then says what is counted already).
2. Where a before-image shows that somebody was here already (`processors.lanes.before`), a whole batch is read anew,
   and what was known before it is forgotten: an entry that is done already changes rows which are not looked at then.
3. A lane that began with an empty view knows what is not there: whatever it has not written or seen. A predecessor's
   rows are then not looked at, and come again from the log.

Bounded: the oldest half goes; what was ever there is kept in a Bloom filter, and when that is full, everything is
asked again. Does not own batches.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import views
from views import followers, recent_by_author
from views.overlay import Overlay
from views.store import Reads
from views.table import Key, Row, Table

# Of one worker that has all shards, for each of the three topics: values in each of two halves, half a kilobyte each;
# and bits of filters, eight a key: full, they ask for one key in fifty that is not there.
_KEPT: Final = 32_768
_FILTER_BYTES: Final = 1 << 24

_ANEW: Final = {followers.TABLE, recent_by_author.TABLE}
STATICS: Final = frozenset(view.table for view in views.ALL if view.table.statics and view.table not in _ANEW)
FIRSTS: Final = frozenset(view.table for view in views.ALL if view.first)
COUNTED_FIRSTS: Final = FIRSTS & STATICS
"""Whose counts are decided by first rows beside them."""
MERGED: Final = frozenset(view.table for view in views.ALL if view.merge)

_UNKNOWN: Final[Any] = object()
_Read = Callable[[Table, Sequence[Key]], Awaitable[list[Row | None]]]


class Filter:
    """Which keys were ever there: never wrong about one that was."""

    def __init__(self, size: int) -> None:
        """`size` in bytes, a power of two."""
        self._bits = bytearray(size)
        self._mask = size * 8 - 1
        self._most = size
        self.held = 0

    @property
    def full(self) -> bool:
        return self.held >= self._most

    def add(self, key: object) -> None:
        bits, mask = self._bits, self._mask
        spot = hash(key)
        step, new = spot >> 32 | 1, False
        for _ in range(4):
            place = spot & mask
            bit = 1 << (place & 7)
            if not bits[place >> 3] & bit:
                bits[place >> 3] |= bit
                new = True
            spot += step
        self.held += new

    def __contains__(self, key: object) -> bool:
        bits, mask = self._bits, self._mask
        spot = hash(key)
        step = spot >> 32 | 1
        for _ in range(4):
            place = spot & mask
            if not bits[place >> 3] >> (place & 7) & 1:
                return False
            spot += step
        return True


class Known:
    """`views.store.Reads` to the overlays of one lane; `learn` after each batch that is saved. HOT."""

    def __init__(self, store: Reads, *, shards: int, empty: bool) -> None:
        """`empty`: no batch of this lane was ever saved."""
        self._store = store
        self._kept = max(256, _KEPT // shards)
        self._young: dict[tuple[Table, Key], Row | None] = {}
        self._old: dict[tuple[Table, Key], Row | None] = {}
        size = max(1 << 16, _FILTER_BYTES >> (shards - 1).bit_length())
        self._there = Filter(size) if empty else None
        self._stale: set[tuple[Table, Key]] = set()
        """Statics of partitions whose first rows the batch in hand has asked for."""
        self.doubtful = False
        """The batch in hand has met with what somebody ahead of this lane has written."""
        self.asked = 0
        """Keys asked of the store, ever; `spared` were not."""
        self.spared = 0
        self.slice = store.slice

    def doubt(self) -> None:
        """Somebody is ahead: forget what was known, and read everything anew until the batch in hand is learned.

        What was never there stays known: rows that an entry makes are read with it, be it done or not.
        """
        self.doubtful = True
        self._young, self._old = {}, {}

    def knows_firsts(self, asked: Sequence[tuple[Table, Key]]) -> bool:
        """Whether `get_many` would ask the store for none of these first rows."""
        return not self.doubtful and all(self._find(key) is not _UNKNOWN for key in asked)

    async def get_many(self, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        if not keys or table not in (FIRSTS if len(keys[0]) < table.key_size else MERGED):
            return await self._store.get_many(table, keys)
        return await self._read(table, keys, self._store.get_many)

    async def statics(self, table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        if table not in STATICS:
            return await self._store.statics(table, partitions)
        return await self._read(table, partitions, self._store.statics)

    async def _read(self, table: Table, keys: Sequence[Key], read: _Read) -> list[Row | None]:
        if self.doubtful:
            self.asked += len(keys)
            return await read(table, keys)
        stale = self._stale
        found = [_UNKNOWN if stale and (table, key) in stale else self._find((table, key)) for key in keys]
        missing = [place for place, row in enumerate(found) if row is _UNKNOWN]
        self.spared += len(keys) - len(missing)
        if missing:
            self.asked += len(missing)
            answers = await read(table, [keys[place] for place in missing])
            if table in COUNTED_FIRSTS and read == self._store.get_many:
                size = table.partition_size
                stale.update((table, keys[place][:size]) for place in missing)
            for place, row in zip(missing, answers, strict=True):
                found[place] = row
        return found

    def _find(self, key: tuple[Table, Key]) -> Any:
        row = self._young.get(key, _UNKNOWN)
        if row is not _UNKNOWN:
            return row
        row = self._old.get(key, _UNKNOWN)
        if row is not _UNKNOWN:
            self._keep(key, row)
        elif self._there is not None and key not in self._there:
            return None
        return row

    def learn(self, overlay: Overlay) -> None:
        """Take over what a batch has read and written, now that it is saved."""
        self.doubtful = False
        self._stale.clear()
        for table in MERGED:
            self._learn(table, overlay.known_rows(table))
        for table in FIRSTS:
            self._learn(table, overlay.known_firsts(table))
        for table in STATICS:
            self._learn(table, overlay.known_counts(table))

    def _learn(self, table: Table, rows: Mapping[Key, Row | None]) -> None:
        there = self._there
        for key, row in rows.items():
            if there is not None and row is not None:
                there.add((table, key))
            self._keep((table, key), row)
        if there is not None and there.full:
            self._there = None

    def _keep(self, key: tuple[Table, Key], row: Row | None) -> None:
        self._young[key] = row
        if len(self._young) > self._kept:
            self._old, self._young = self._young, {}
