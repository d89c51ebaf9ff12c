"""Which keys of one call are asked for in one statement: those of one partition, a bounded number at once. Pure.

Does not own the statements' text (`views.cql.text`) nor how they are sent (`views.store_scylla`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from views.table import Key, Row, Table

# ScyllaDB refuses above 100 (max_clustering_key_restrictions_per_query).
TOGETHER_MOST: Final = 64


def grouped(table: Table, keys: Sequence[Key]) -> list[list[Key]]:
    """Each key once; those of a group have one partition. What is alone in its partition is a group of one."""
    size = table.partition_size
    partitions: dict[Key, dict[Key, None]] = {}
    for key in keys:
        partitions.setdefault(key[:size], {})[key] = None
    groups = []
    for partition in partitions.values():
        distinct = list(partition)
        groups += [distinct[at : at + TOGETHER_MOST] for at in range(0, len(distinct), TOGETHER_MOST)]
    return groups


def limit_of(table: Table, group: Sequence[Key]) -> int:
    """How many rows a group may bring: one a key; where keys lack their last column, some have more than one row."""
    return len(group) if len(group[0]) == table.key_size else 2 * len(group) + 8


def values_of(table: Table, group: Sequence[Key], limit: int) -> Key:
    """The parameters of `views.cql.text.get_together`."""
    size = table.partition_size
    wanted: list[Any] = [key[size] if len(key) == size + 1 else key[size:] for key in group]
    return (*group[0][:size], wanted, limit)


def found(group: Sequence[Key], rows: Sequence[Row], limit: int) -> tuple[dict[Key, Row], list[Key]]:
    """The first row of each key, and the keys that the limit may have cut off: to be asked for alone."""
    width = len(group[0])
    first: dict[Key, Row] = {}
    for row in rows:
        first.setdefault(row[:width], row)
    if len(rows) < limit or len(first) == len(group):
        return first, []
    return first, [key for key in group if key not in first]
