# ruff: noqa: S608 -- names come from declarations in views/, values are always bound
"""The CQL of `views.store_scylla`: made from a table's declaration, nothing executed here.

Only what Cassandra 5 and ScyllaDB share. Parameters stand in the order of the columns; a write's timestamp is last,
a delete's first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from schemas.errors import InvariantError
from views.table import Column, Table

_TYPES: Final = {"text": "text", "int": "bigint", "blob": "blob"}
GC_GRACE_SECONDS: Final = 864_000  # 10 days: repairs must run more often than that

# A read of a key that is written again and again touches about one file a level. Fan-out writes a hundred rows for
# each one that is read: there the files of a size class are cheaper.
_LEVELED: Final = "{'class': 'LeveledCompactionStrategy'}"
_SIZE_TIERED: Final = "{'class': 'SizeTieredCompactionStrategy'}"


def create(keyspace: str, table: Table, *, scylla: bool) -> str:
    """On ScyllaDB tombstones go by the same ten days, not by its record of repairs."""
    if table.statics and not table.clustering:
        raise InvariantError(f"{table.name}: CQL has statics only beside rows with a clustering key")
    columns = [f"{quoted(c)} {_TYPES[c.kind]}" for c in table.all_columns]
    columns += [f"{quoted(c)} {_TYPES[c.kind]} static" for c in table.statics]
    key = ", ".join([f"({_names(table.partition)})", *(quoted(c) for c in table.clustering)])
    options = [f"gc_grace_seconds = {GC_GRACE_SECONDS}"]
    options.append(f"compaction = {_SIZE_TIERED if table.source == 'fanout' else _LEVELED}")
    if table.clustering:
        order = ", ".join(f"{quoted(c)} {'DESC' if c.descending else 'ASC'}" for c in table.clustering)
        options.insert(0, f"CLUSTERING ORDER BY ({order})")
    if scylla:
        options.append("tombstone_gc = {'mode': 'timeout'}")
    return (
        f"CREATE TABLE IF NOT EXISTS {named(keyspace, table)} ({', '.join(columns)}, PRIMARY KEY ({key}))"
        f" WITH {' AND '.join(options)}"
    )


def named(keyspace: str, table: Table) -> str:
    return f'{keyspace}."{table.name}"'


def quoted(column: Column) -> str:
    return f'"{column.name}"'


def put(keyspace: str, table: Table) -> str:
    """INSERT, never UPDATE: it marks the row as there, also where all of it is key."""
    return _insert(keyspace, table, table.all_columns)


def put_statics(keyspace: str, table: Table) -> str:
    """Makes no row."""
    return _insert(keyspace, table, table.partition + table.statics)


def delete(keyspace: str, table: Table) -> str:
    return f"DELETE FROM {named(keyspace, table)} USING TIMESTAMP ? WHERE {equal(table.partition + table.clustering)}"


def get(keyspace: str, table: Table, width: int) -> str:
    """A key one column short means the first row that has it."""
    key = (table.partition + table.clustering)[:width]
    tail = " LIMIT 1" if width < table.key_size else ""
    return f"{_select(keyspace, table)} WHERE {equal(key)}{tail}"


def get_together(keyspace: str, table: Table, width: int) -> str:
    """Keys of one partition: after it the list of what follows (tuples where that is several columns), and a limit."""
    columns = table.clustering[: width - table.partition_size]
    named_ = f"({_names(columns)})" if len(columns) > 1 else _names(columns)
    return f"{_select(keyspace, table)} WHERE {equal(table.partition)} AND {named_} IN ? LIMIT ?"


def statics(keyspace: str, table: Table) -> str:
    """One row where the partition has rows or statics; statics never written are NULLs."""
    return (
        f"SELECT DISTINCT {_names(table.partition + table.statics)} FROM {named(keyspace, table)}"
        f" WHERE {equal(table.partition)}"
    )


def slice_(keyspace: str, table: Table, where: str, *, reverse: bool) -> str:
    """`where` fixes at least the partition."""
    order = ""
    if reverse and table.clustering:
        listed = ", ".join(f"{quoted(c)} {'ASC' if c.descending else 'DESC'}" for c in table.clustering)
        order = f" ORDER BY {listed}"
    return f"{_select(keyspace, table)} WHERE {where}{order} LIMIT ?"


def beginning(keyspace: str, table: Table) -> str:
    return slice_(keyspace, table, equal(table.partition), reverse=False)


def scan(keyspace: str, table: Table) -> str:
    return _select(keyspace, table)


def scan_statics(keyspace: str, table: Table) -> str:
    return f"SELECT DISTINCT {_names(table.partition + table.statics)} FROM {named(keyspace, table)}"


def scan_all(keyspace: str, table: Table) -> str:
    """Rows, each followed by its partition's statics; one row of NULLs where a partition has statics alone."""
    return f"SELECT {_names(table.all_columns + table.statics)} FROM {named(keyspace, table)}"


def lane(keyspace: str, table: Table) -> str:
    """`scan_all` of one partition."""
    return f"{scan_all(keyspace, table)} WHERE {equal(table.partition)}"


def equal(columns: tuple[Column, ...]) -> str:
    return " AND ".join(f"{quoted(column)} = ?" for column in columns)


def _insert(keyspace: str, table: Table, columns: tuple[Column, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {named(keyspace, table)} ({_names(columns)}) VALUES ({marks}) USING TIMESTAMP ?"


def _select(keyspace: str, table: Table) -> str:
    return f"SELECT {_names(table.all_columns)} FROM {named(keyspace, table)}"


def _names(columns: tuple[Column, ...]) -> str:
    return ", ".join(map(quoted, columns))


MAKERS: Final[Mapping[str, Callable[[str, Table], str]]] = {
    "put": put,
    "put_statics": put_statics,
    "delete": delete,
    "statics": statics,
    "beginning": beginning,
    "scan": scan,
    "scan_statics": scan_statics,
    "scan_all": scan_all,
    "lane": lane,
}
