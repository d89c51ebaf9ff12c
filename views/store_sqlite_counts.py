"""How many rows each view's table has, up to a bound, counted beside the process that writes them.

Reads the file through a connection of its own, so that it may be called in a thread. Does not own what the rows are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw

from views import sqlite_sql as sql
from views.table import Table


def count_rows(path: Path, tables: Sequence[Table], most: int) -> dict[str, int]:
    """By table, its rows, or `most` where there are more: a count reads what it counts. Raises apsw.Error."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {
            table.name: connection.execute(
                f"SELECT count(*) FROM (SELECT 1 FROM {sql.quoted(table)} LIMIT ?)",  # noqa: S608 - a name of ours
                (most,),
            ).get
            for table in tables
        }
    finally:
        connection.close()
