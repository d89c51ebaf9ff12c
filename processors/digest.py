"""What a generation holds, in one number a view: equal digests mean equal views, in any mode and on any store.

Leaves out versions and `applied`, which depend on how entries were laid out in shards, and the tables whose rows
depend on the order between shards: of timelines the answers are compared instead (invariant 9). A count of zero is
as good as none.

A row's line is hashed alone and the hashes are added up by bucket of its partition, so that the order in which a store
gives its rows does not matter and a copy of any size takes a few KB. Does not own how a store is scanned.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from hashlib import sha256
from time import perf_counter
from typing import Final, Protocol

import msgspec
from xxhash import xxh64_intdigest

from views.table import Key, Row, Table
from views.view import View

ORDER_DEPENDENT: Final = frozenset({"timelines", "recent_by_author", "big_authors"})
BUCKETS: Final = 256
_VERSIONS: Final = frozenset({"offset", "applied"})
_BYTES: Final = 32
_WRAP: Final = (1 << 8 * _BYTES) - 1
_TURN_SECONDS: Final = 0.002

Rows = Iterable[Row] | AsyncIterable[Row]


class Scanned(Protocol):
    """What an adapter offers besides the port, for whole copies alone; in any order."""

    def scan(self, table: Table) -> Rows:
        """Every row."""
        ...

    def scan_statics(self, table: Table) -> Rows:
        """(partition, statics) of every partition that has some."""
        ...


class Line(msgspec.Struct, frozen=True, gc=False):
    """A row, or a partition's statics (`key` is then the partition alone), as it counts."""

    key: Key
    row: Row
    statics: bool = False

    def encoded(self) -> bytes:
        return msgspec.msgpack.encode((self.statics, *self.row))


class Lines:
    """Rows of one table as lines: what does not count is left out."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._kept = [place for place, column in enumerate(table.all_columns) if column.name not in _VERSIONS]
        size = table.partition_size
        self._counts = [size + at for at, column in enumerate(table.statics) if column.name not in _VERSIONS]

    def of_row(self, row: Row) -> Line:
        return Line(tuple(row[: self._table.key_size]), tuple(row[place] for place in self._kept))

    def of_statics(self, row: Row) -> Line | None:
        """None where all counts are zero or unset."""
        if not any(row[place] for place in self._counts):
            return None
        partition = tuple(row[: self._table.partition_size])
        return Line(partition, (*partition, *(row[place] for place in self._counts)), statics=True)

    def bucket(self, line: Line) -> int:
        """Where the line's partition falls."""
        return xxh64_intdigest(msgspec.msgpack.encode(line.key[: self._table.partition_size])) % BUCKETS


class Sums:
    """The digests of one view's buckets."""

    def __init__(self, table: Table) -> None:
        self._lines = Lines(table)
        self._sums = [0] * BUCKETS
        self.lines = [0] * BUCKETS

    def add(self, line: Line | None) -> None:
        if line is not None:
            bucket = self._lines.bucket(line)
            self._sums[bucket] = (self._sums[bucket] + _hash(line)) & _WRAP
            self.lines[bucket] += 1

    def differing(self, other: Sums) -> list[int]:
        """The buckets that are not equal."""
        return [bucket for bucket in range(BUCKETS) if self._bytes(bucket) != other._bytes(bucket)]

    def _bytes(self, bucket: int) -> bytes:
        return self.lines[bucket].to_bytes(8, "big") + self._sums[bucket].to_bytes(_BYTES, "big")

    def digest(self) -> str:
        return sha256(b"".join(map(self._bytes, range(BUCKETS)))).hexdigest()


def comparable(views: Sequence[View]) -> list[View]:
    """Those whose rows are a function of the log alone."""
    return [view for view in views if view.name not in ORDER_DEPENDENT]


def digests(store: Scanned, views: Sequence[View]) -> dict[str, str]:
    """Of a store that scans at once (SQLite)."""
    return {view.name: digest(store, view.table) for view in comparable(views)}


def digest(store: Scanned, table: Table) -> str:
    """Of a store that scans at once (SQLite)."""
    sums = Sums(table)
    for line in _at_once(store, table):
        sums.add(line)
    return sums.digest()


async def measure(store: Scanned, table: Table) -> Sums:
    """Of any store, a few rows at a time."""
    sums = Sums(table)
    async for line in lines_of(store, table):
        sums.add(line)
    return sums


async def lines_of(store: Scanned, table: Table) -> AsyncIterator[Line]:
    """Every line of a table; lets the loop turn."""
    lines = Lines(table)
    async for row in _gently(store.scan(table)):
        yield lines.of_row(row)
    if table.statics:
        async for row in _gently(store.scan_statics(table)):
            line = lines.of_statics(row)
            if line is not None:
                yield line


async def _gently(rows: Rows) -> AsyncIterator[Row]:
    if not isinstance(rows, Iterable):
        async for row in rows:
            yield row
        return
    turn = perf_counter()
    for row in rows:
        yield row
        if perf_counter() - turn > _TURN_SECONDS:
            await asyncio.sleep(0)
            turn = perf_counter()


def _at_once(store: Scanned, table: Table) -> Iterator[Line | None]:
    lines = Lines(table)
    rows, statics = store.scan(table), store.scan_statics(table) if table.statics else ()
    if not isinstance(rows, Iterable) or not isinstance(statics, Iterable):
        raise TypeError("this store is scanned with `measure`")
    for row in rows:
        yield lines.of_row(row)
    for row in statics:
        yield lines.of_statics(row)


def _hash(line: Line) -> int:
    return int.from_bytes(sha256(line.encoded()).digest(), "big")
