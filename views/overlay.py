"""A batch in the making: what it has read and what it will write, over the committed store. HOT.

Reads see the batch's own writes, so that `before` of an entry is what the entries before it left. Nothing reaches
the store until `batch()` is applied. Does not own progress.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from views.store import Batch, Reads
from views.table import Key, Row, Table

UNREAD: Final[Any] = object()
_NONE: Final[dict[Key, Row | None]] = {}


class Overlay:
    def __init__(self, store: Reads) -> None:
        self._store = store
        self.rows: defaultdict[Table, dict[Key, dict[Key, Row | None]]] = defaultdict(dict)
        """Table, partition, clustering key: the last word."""
        self._changed_statics: defaultdict[Table, dict[Key, Row]] = defaultdict(dict)
        self._read: defaultdict[Table, dict[Key, Row | None]] = defaultdict(dict)
        self._read_statics: defaultdict[Table, dict[Key, Row | None]] = defaultdict(dict)
        self._firsts: defaultdict[Table, dict[Key, Row | None]] = defaultdict(dict)
        self._slices: dict[tuple[Table, Key], tuple[int, list[Row]]] = {}
        """Beginnings of partitions as they are stored, and how many rows were asked for."""

    def put(self, table: Table, row: Row) -> None:
        partitions, size = self.rows[table], table.partition_size
        partition = row[:size]
        rows = partitions.get(partition)
        if rows is None:
            partitions[partition] = {row[size : table.key_size]: row}
        else:
            rows[row[size : table.key_size]] = row

    def delete(self, table: Table, key: Key) -> None:
        """A final statement also for a row that may not be there (EXACTNESS 2)."""
        size = table.partition_size
        self.rows[table].setdefault(key[:size], {})[key[size:]] = None

    def put_statics(self, table: Table, partition: Key, values: Row) -> None:
        self._changed_statics[table][partition] = values

    def put_each(self, table: Table, prefixes: Iterable[str], changes: Sequence[tuple[Key, Row | None]]) -> None:
        """The same changes in many partitions of one column: (clustering key, the row without its first column)."""
        partitions = self.rows[table]
        get = partitions.get
        for prefix in prefixes:
            rows = get((prefix,))
            if rows is None:
                rows = partitions[prefix,] = {}
            for key, row in changes:
                rows[key] = None if row is None else (prefix, *row)

    def raise_static(self, table: Table, partition: Key, values: Row) -> None:
        """Statics whose first value only ever rises, whoever writes last (`VersionedOverlay`)."""
        self.put_statics(table, partition, values)

    def known(self, table: Table, key: Key) -> Row | None:
        """The row if the batch knows it, else UNREAD."""
        size = table.partition_size
        row: Row | None = self.rows[table].get(key[:size], _NONE).get(key[size:], UNREAD)
        return self._read[table].get(key, UNREAD) if row is UNREAD else row

    async def get(self, table: Table, key: Key) -> Row | None:
        row = self.known(table, key)
        if row is UNREAD:
            (row,) = await self._store.get_many(table, (key,))
            self._read[table][key] = row
        return row

    async def load(self, table: Table, keys: Iterable[Key]) -> None:
        """Read ahead, in one go, what `get` will be asked."""
        known = self._read[table]
        wanted = [key for key in dict.fromkeys(keys) if key not in known]
        if wanted:
            known.update(zip(wanted, await self._store.get_many(table, wanted), strict=True))

    async def load_statics(self, table: Table, partitions: Iterable[Key]) -> None:
        known = self._read_statics[table]
        wanted = [key for key in dict.fromkeys(partitions) if key not in known]
        if wanted:
            known.update(zip(wanted, await self._store.statics(table, wanted), strict=True))

    def known_statics(self, table: Table, partition: Key) -> Row | None:
        """The statics if the batch knows them, else UNREAD."""
        values: Row | None = self._changed_statics[table].get(partition)
        return self._read_statics[table].get(partition, UNREAD) if values is None else values

    async def statics(self, table: Table, partition: Key) -> Row | None:
        values = self.known_statics(table, partition)
        if values is UNREAD:
            (values,) = await self._store.statics(table, (partition,))
            self._read_statics[table][partition] = values
        return values

    async def load_firsts(self, table: Table, prefixes: Iterable[Key]) -> None:
        known = self._firsts[table]
        wanted = [prefix for prefix in dict.fromkeys(prefixes) if prefix not in known]
        if wanted:
            known.update(zip(wanted, await self._store.get_many(table, wanted), strict=True))

    def known_first(self, table: Table, prefix: Key) -> Row | None:
        """The first row if the batch knows it, else UNREAD."""
        return self._firsts[table].get(prefix, UNREAD)

    async def first(self, table: Table, prefix: Key) -> Row | None:
        """The first row of a prefix one column short of the key; who changes it says so with `set_first`."""
        row: Row | None = self._firsts[table].get(prefix, UNREAD)
        if row is UNREAD:
            (row,) = await self._store.get_many(table, (prefix,))
            self._firsts[table][prefix] = row
        return row

    def set_first(self, table: Table, prefix: Key, row: Row | None) -> None:
        self._firsts[table][prefix] = row

    def assume(self, table: Table, key: Key, row: Row | None) -> None:
        """What the store holds, told by who knows: `get` does not ask it."""
        self._read[table][key] = row

    def known_rows(self, table: Table) -> dict[Key, Row | None]:
        """By whole key, every row that was read or written, as it is after the batch."""
        rows = dict(self._read[table])
        for partition, written in self.rows[table].items():
            rows.update((partition + key, row) for key, row in written.items())
        return rows

    def known_firsts(self, table: Table) -> dict[Key, Row | None]:
        """By prefix, as `first` would say now."""
        return self._firsts[table]

    def known_counts(self, table: Table) -> dict[Key, Row | None]:
        """By partition, the statics that were read or written, as they are after the batch."""
        return {**self._read_statics[table], **self._changed_statics[table]}

    async def slice(self, table: Table, prefix: Key, limit: int) -> list[Row]:
        """The first `limit` rows of a partition, or of a longer prefix, in clustering order."""
        size = table.partition_size
        written = self.rows[table].get(prefix[:size])
        if not written:
            return await self._slice(table, prefix, limit)
        rest = prefix[size:]
        if rest:
            written = {key: row for key, row in written.items() if key[: len(rest)] == rest}
        end = table.key_size
        stored = await self._slice(table, prefix, limit + len(written))
        rows = [row for row in stored if row[size:end] not in written]
        rows += [row for row in written.values() if row is not None]
        return in_order(table, rows)[:limit]

    async def _slice(self, table: Table, prefix: Key, limit: int) -> list[Row]:
        ahead = self._slices.get((table, prefix))
        if ahead is not None and (limit <= ahead[0] or len(ahead[1]) < ahead[0]):
            return ahead[1][:limit]
        return await self._store.slice(table, prefix, limit=limit)

    async def load_slice(self, table: Table, prefix: Key, limit: int) -> None:
        """Read ahead what `slice` will be asked for until `forget_slices`, whatever has been written before."""
        limit += len(self.rows[table].get(prefix[: table.partition_size], ()))
        self._slices[table, prefix] = limit, await self._store.slice(table, prefix, limit=limit)

    def forget_slices(self) -> None:
        self._slices.clear()

    def forget_but(self, table: Table) -> None:
        """Whatever was read of other tables is to be read anew; nothing has been written yet."""
        kept = self._read[table]
        for held in (self._read, self._read_statics, self._firsts, self._slices):
            held.clear()
        self._read[table] = kept

    async def stored(self, table: Table, partition: Key, limit: int) -> list[Row]:
        """The first rows of a partition as they are committed, without the batch's own."""
        return await self._store.slice(table, partition, limit=limit)

    def batch(self) -> Batch:
        return Batch(dict(self.rows), dict(self._changed_statics), {}, {})


def in_order(table: Table, rows: Sequence[Row]) -> list[Row]:
    """The rows of one partition as the table keeps them."""
    ordered = list(rows)
    for place in range(table.key_size - 1, table.partition_size - 1, -1):
        descending = table.clustering[place - table.partition_size].descending
        ordered.sort(key=lambda row: row[place], reverse=descending)
    return ordered
