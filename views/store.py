"""The store's port: what may be asked of tables and how they are written, on any store.

As weak as CQL on purpose: a slice reads one partition in clustering order with a limit; there are no joins, no scans.
Readers see committed batches only, each whole. Does not own what the rows mean nor what goes into a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from views.table import Key, Row, Table

# (consumed topic, its shard) -> offset up to which everything it caused is in the tables
Vector = Mapping[tuple[str, int], int]
# (hop, its shard, source topic, source shard) -> (source offset, index) of the newest message let in
Marks = Mapping[tuple[str, int, str, int], tuple[int, int]]
# (hop, its shard, sender's shard) -> offset of each shard of `records` up to which the sender's messages are in
Watermarks = Mapping[tuple[str, int, int], tuple[int, ...]]


class Progress(msgspec.Struct, frozen=True):
    """How far a generation has come; `vector` rises with every batch, so that equal vectors mean equal tables."""

    vector: dict[tuple[str, int], int]
    marks: dict[tuple[str, int, str, int], tuple[int, int]]
    watermarks: dict[tuple[str, int, int], tuple[int, ...]] = {}
    reached: dict[tuple[str, int], int] = {}
    """Of a lane whose batches may be torn: the offset up to which it may have written, saved or not."""


class Batch(msgspec.Struct):
    """Final values for every key that the batch touched, by partition; statics are whole tuples.

    Versions are for a store whose batches may be torn and redone: of each key the offset, in its table's `source`, of
    the entry that last touched it. A store whose batches are whole has no need of them. One lane's batch holds in
    `vector` its own (topic, shard) alone.
    """

    rows: dict[Table, dict[Key, dict[Key, Row | None]]]
    """Table, partition, clustering key (empty where there is none): the row, or None for a delete."""
    statics: dict[Table, dict[Key, Row]]
    vector: dict[tuple[str, int], int]
    marks: dict[tuple[str, int, str, int], tuple[int, int]]
    versions: dict[Table, dict[Key, dict[Key, int]]] | None = None
    """In the shape of `rows`."""
    static_versions: dict[Table, dict[Key, int]] | None = None
    watermarks: dict[tuple[str, int, int], tuple[int, ...]] = {}


class Reads(Protocol):
    """What a batch in the making asks of a generation."""

    async def get_many(self, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        """The row of each key, in the order asked, None where there is none.

        A key is the whole primary key; or, where the last clustering column is left out, the first row in clustering
        order that begins with it (`likes_by_actor` by (actor, bucket, subject) is the like that counts).
        All keys of a call have one length.
        """
        ...

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
        """At most `limit` rows of one partition in clustering order (backwards when `reverse`).

        `partition` may go on with values for the first clustering columns: only rows that equal them are read.
        `after` (left out itself) and `until` (included) are values for the clustering columns that follow, or the
        first of them: a row equal in all given values is at the bound.
        """
        ...

    async def statics(self, table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        """The statics of each partition, in the order asked; None where none was ever written."""
        ...


class Store(Reads, Protocol):
    """One generation of all views."""

    async def apply(self, batch: Batch) -> None:
        """Write a batch and the progress it brings, durable together or not at all; the same batch twice is once."""
        ...

    async def progress(self) -> Progress:
        """What the last applied batch left; empty at the start."""
        ...


class Remote(Store, Protocol):
    """A store across a network, where what counts is how many statements a page takes."""

    async def beginnings(self, table: Table, partitions: Sequence[Key], *, limit: int) -> list[list[Row]]:
        """At most `limit` first rows of each partition, in the order asked; a partition costs one statement."""
        ...
