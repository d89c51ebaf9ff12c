"""A batch in the making: what it has read and what it will write, over the committed store. HOT.

Reads see the batch's own writes, so that `before` of an entry is what the entries before it left. Nothing reaches
the store until `batch()` is applied. Does not own progress.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from views.store import Batch, Store
from views.table import Key, Row, Table

UNREAD: Final[Any] = object()


class Overlay:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.rows: defaultdict[Table, dict[Key, Row | None]] = defaultdict(dict)
        self.changed_statics: defaultdict[Table, dict[Key, Row]] = defaultdict(dict)
        self._read: defaultdict[Table, dict[Key, Row | None]] = defaultdict(dict)
        self._read_statics: defaultdict[Table, dict[Key, Row | None]] = defaultdict(dict)
        self._firsts: defaultdict[Table, dict[Key, Row | None]] = defaultdict(dict)
        # Of a partition (or a longer prefix) that is sliced: the keys that the batch wrote in it.
        self._written: dict[tuple[str, Key], set[Key]] = {}
        self._sliced: dict[Table, int] = {}

    def track(self, table: Table, width: int) -> None:
        """Say before the first write that `slice` will be asked of the table by prefixes of `width` columns."""
        self._sliced[table] = width

    def put(self, table: Table, row: Row) -> None:
        key = row[: table.key_size]
        self.rows[table][key] = row
        if table in self._sliced:
            self._note(table, key)

    def delete(self, table: Table, key: Key) -> None:
        """A final statement also for a row that may not be there (EXACTNESS 2)."""
        self.rows[table][key] = None
        if table in self._sliced:
            self._note(table, key)

    def _note(self, table: Table, key: Key) -> None:
        group = (table.name, key[: self._sliced[table]])
        keys = self._written.get(group)
        if keys is None:
            self._written[group] = {key}
        else:
            keys.add(key)

    def put_statics(self, table: Table, partition: Key, values: Row) -> None:
        self.changed_statics[table][partition] = values

    def peek(self, table: Table, key: Key) -> Row | None:
        """The row if the batch knows it, else UNREAD."""
        row = self.rows[table].get(key, UNREAD)
        return self._read[table].get(key, UNREAD) if row is UNREAD else row

    async def get(self, table: Table, key: Key) -> Row | None:
        row = self.peek(table, key)
        if row is UNREAD:
            (row,) = await self._store.get_many(table, (key,))
            self._read[table][key] = row
        return row

    async def load(self, table: Table, keys: Iterable[Key]) -> None:
        """Read ahead, in one go, what `get` and `peek` will be asked."""
        known = self._read[table]
        wanted = [key for key in dict.fromkeys(keys) if key not in known]
        if wanted:
            known.update(zip(wanted, await self._store.get_many(table, wanted), strict=True))

    async def load_statics(self, table: Table, partitions: Iterable[Key]) -> None:
        known = self._read_statics[table]
        wanted = [key for key in dict.fromkeys(partitions) if key not in known]
        if wanted:
            known.update(zip(wanted, await self._store.statics(table, wanted), strict=True))

    async def statics(self, table: Table, partition: Key) -> Row | None:
        values: Row | None = self.changed_statics[table].get(partition)
        if values is not None:
            return values
        values = self._read_statics[table].get(partition, UNREAD)
        if values is UNREAD:
            (values,) = await self._store.statics(table, (partition,))
            self._read_statics[table][partition] = values
        return values

    async def slice(self, table: Table, prefix: Key, limit: int) -> list[Row]:
        """The first `limit` rows of a tracked prefix, in clustering order."""
        written = self._written.get((table.name, prefix))
        if not written:
            return await self._store.slice(table, prefix, limit=limit)
        size, rows = table.key_size, self.rows[table]
        kept = [
            row
            for row in await self._store.slice(table, prefix, limit=limit + len(written))
            if row[:size] not in written
        ]
        kept += [row for key in written if (row := rows[key]) is not None]
        return in_order(table, kept)[:limit]

    async def load_firsts(self, table: Table, prefixes: Iterable[Key]) -> None:
        known = self._firsts[table]
        wanted = [prefix for prefix in dict.fromkeys(prefixes) if prefix not in known]
        if wanted:
            known.update(zip(wanted, await self._store.get_many(table, wanted), strict=True))

    async def first(self, table: Table, prefix: Key) -> Row | None:
        """The first row of a prefix one column short of the key; who changes it says so with `set_first`."""
        row: Row | None = self._firsts[table].get(prefix, UNREAD)
        if row is UNREAD:
            (row,) = await self._store.get_many(table, (prefix,))
            self._firsts[table][prefix] = row
        return row

    def set_first(self, table: Table, prefix: Key, row: Row | None) -> None:
        self._firsts[table][prefix] = row

    async def stored(self, table: Table, partition: Key, limit: int) -> list[Row]:
        """The first rows of a partition as they are committed, without the batch's own."""
        return await self._store.slice(table, partition, limit=limit)

    def batch(self) -> Batch:
        return Batch(dict(self.rows), dict(self.changed_statics), {}, {})


def in_order(table: Table, rows: Sequence[Row]) -> list[Row]:
    """The rows of one partition as the table keeps them."""
    ordered = list(rows)
    for place in range(table.key_size - 1, table.partition_size - 1, -1):
        descending = table.clustering[place - table.partition_size].descending
        ordered.sort(key=lambda row: row[place], reverse=descending)
    return ordered
