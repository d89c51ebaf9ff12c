"""What a table is: declared once, in the words of CQL, for every store.

A row is a tuple of its columns in declared order: partition key, clustering key, the rest. Statics are one tuple a
partition. Does not own rows' meaning (each view's file) nor how a store keeps them (`views.store_sqlite`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["text", "int", "blob"]
Source = Literal["records", "edges", "fanout", "operations"]
Row = tuple[Any, ...]
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """`about` says what a reader gets. `descending` counts in a clustering key alone."""

    name: str
    kind: Kind
    about: str
    descending: bool = False


def text(name: str, about: str) -> Column:
    return Column(name, "text", about)


def integer(name: str, about: str, *, descending: bool = False) -> Column:
    return Column(name, "int", about, descending)


def blob(name: str, about: str) -> Column:
    return Column(name, "blob", about)


def newest_first(about: str = "unix microseconds: min(createdAt, first_time)") -> Column:
    return integer("sort_at", about, descending=True)


APPLIED = integer("applied", "offset in `source` up to which the counts hold; no reader's business")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Declared once, so equal to itself alone.

    `source` is the one topic the table is written from; only `partition` may be looked up, in clustering order.
    """

    name: str
    source: Source
    partition: tuple[Column, ...]
    clustering: tuple[Column, ...] = ()
    columns: tuple[Column, ...] = ()
    statics: tuple[Column, ...] = ()
    partition_size: int = field(init=False)
    key_size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "partition_size", len(self.partition))
        object.__setattr__(self, "key_size", len(self.partition) + len(self.clustering))

    @property
    def all_columns(self) -> tuple[Column, ...]:
        return self.partition + self.clustering + self.columns

    def index(self, name: str) -> int:
        """The place of a column in a row."""
        return [column.name for column in self.all_columns].index(name)

    def static_index(self, name: str) -> int:
        """The place of a static column in a partition's statics."""
        return [column.name for column in self.statics].index(name)
