# ruff: noqa: S608 -- names come from declarations in views/, values are always bound
"""The SQL of `views.store_sqlite`: made from a table's declaration, nothing executed here."""

from __future__ import annotations

from views.table import Column, Table

_TYPES = {"text": "TEXT", "int": "INTEGER", "blob": "BLOB"}


def create(table: Table) -> list[str]:
    """A table of small rows keeps a partition's rows side by side, in clustering order (WITHOUT ROWID).

    Where rows hold blobs they are appended and only their keys are sorted: a B-tree of large rows spills most of them
    to pages of their own, and dirties one page a row.
    """

    def listed(columns: tuple[Column, ...], key: tuple[Column, ...], *, sorted_rows: bool) -> str:
        declared = ", ".join(f"{column.name} {_TYPES[column.kind]}" for column in columns)
        ordered = ", ".join(column.name + (" DESC" if column.descending else "") for column in key)
        return f"({declared}, PRIMARY KEY ({ordered}))" + (" WITHOUT ROWID" if sorted_rows else "")

    large = any(column.kind == "blob" for column in table.columns)
    rows = listed(table.all_columns, table.partition + table.clustering, sorted_rows=not large)
    statements = [f"CREATE TABLE IF NOT EXISTS {quoted(table)} {rows}"]
    if table.statics:
        columns = listed(table.partition + table.statics, table.partition, sorted_rows=True)
        statements.append(f"CREATE TABLE IF NOT EXISTS {statics_of(table)} {columns}")
    return statements


def quoted(table: Table) -> str:
    return f'"{table.name}"'


def statics_of(table: Table) -> str:
    return f'"{table.name}__statics"'


def put(table: Table) -> str:
    return f"INSERT OR REPLACE INTO {quoted(table)} VALUES ({_marks(len(table.all_columns))})"


def put_statics(table: Table) -> str:
    return f"INSERT OR REPLACE INTO {statics_of(table)} VALUES ({_marks(len(table.partition) + len(table.statics))})"


def delete(table: Table) -> str:
    return f"DELETE FROM {quoted(table)} WHERE {_equal(table.partition + table.clustering)}"


def get_many(table: Table, width: int, size: int) -> str:
    """`size` keys of `width` columns, NULLs for none; a key one column short means the first row that has it."""
    key = (table.partition + table.clustering)[:width]
    first = table.clustering[-1] if width == table.key_size - 1 else None
    name = quoted(table)
    if size == 1:
        tail = "" if first is None else f" ORDER BY {_order((first,), reverse=False)} LIMIT 1"
        return f"SELECT * FROM {name} WHERE {_equal(key)}{tail}"
    statement = _join(name, key, size)
    if first is not None:
        inner = " AND ".join(f"u.{column.name} = k.k{i}" for i, column in enumerate(key))
        order = _order((first,), reverse=False)
        statement += (
            f" AND t.{first.name} = (SELECT u.{first.name} FROM {name} u WHERE {inner} ORDER BY u.{order} LIMIT 1)"
        )
    return statement


def statics(table: Table, size: int) -> str:
    if size == 1:
        return f"SELECT * FROM {statics_of(table)} WHERE {_equal(table.partition)}"
    return _join(statics_of(table), table.partition, size)


def _join(name: str, key: tuple[Column, ...], size: int) -> str:
    """The keys in the outer loop, which CROSS JOIN keeps there: one descent of the tree a key, and no sorting."""
    names = ", ".join(f"k{i}" for i in range(len(key)))
    values = ", ".join([f"({_marks(len(key))})"] * size)
    on = " AND ".join(f"t.{column.name} = k.k{i}" for i, column in enumerate(key))
    return f"WITH k({names}) AS (VALUES {values}) SELECT t.* FROM k CROSS JOIN {name} t WHERE {on}"


def slice_(table: Table, prefix: int, after: int, until: int, *, reverse: bool) -> str:
    """Parameters in order: `prefix` key values, `after` values, `until` values, limit."""
    following = table.clustering[prefix - table.partition_size :]
    where = [_equal((table.partition + table.clustering)[:prefix])]
    where += _bound(following[:after], prefix + 1, upper=False, reverse=reverse)
    where += _bound(following[:until], prefix + after + 1, upper=True, reverse=reverse)
    order = f" ORDER BY {_order(following, reverse=reverse)}" if following else ""
    return f"SELECT * FROM {quoted(table)} WHERE {' AND '.join(where)}{order} LIMIT ?{prefix + after + until + 1}"


def scan(table: Table) -> str:
    return f"SELECT * FROM {quoted(table)} ORDER BY {_order(table.partition + table.clustering, reverse=False)}"


def scan_statics(table: Table) -> str:
    return f"SELECT * FROM {statics_of(table)} ORDER BY {_order(table.partition, reverse=False)}"


def _bound(columns: tuple[Column, ...], first: int, *, upper: bool, reverse: bool) -> list[str]:
    """Rows after (exclusive), or up to (inclusive), the parameters from `first` on, in a key of mixed directions."""
    if not columns:
        return []
    groups: list[tuple[str, list[tuple[str, int]]]] = []
    for number, column in enumerate(columns, first):
        operator = "<" if column.descending != (upper != reverse) else ">"
        if not groups or groups[-1][0] != operator:
            groups.append((operator, []))
        groups[-1][1].append((column.name, number))
    test = ""
    for operator, members in reversed(groups):
        names, values = _tuple([n for n, _ in members]), _tuple([f"?{i}" for _, i in members])
        if not test:
            test = f"{names} {operator}{'=' if upper else ''} {values}"
        else:
            test = f"({names} {operator} {values} OR ({names} = {values} AND {test}))"
    if len(groups) == 1:
        return [test]
    # The disjunction alone would not bound the range that is scanned.
    operator, members = groups[0]
    return [f"{_tuple([n for n, _ in members])} {operator}= {_tuple([f'?{i}' for _, i in members])}", test]


def _tuple(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"({', '.join(items)})"


def _order(columns: tuple[Column, ...], *, reverse: bool) -> str:
    return ", ".join(f"{c.name} {'DESC' if c.descending != reverse else 'ASC'}" for c in columns)


def _equal(columns: tuple[Column, ...]) -> str:
    return " AND ".join(f"{column.name} = ?{i}" for i, column in enumerate(columns, 1))


def _marks(count: int) -> str:
    return ", ".join("?" * count)
