"""One generation's file as it stands at one moment: whole copies are read from here while batches go on.

Does not own the file (`views.store_sqlite`) nor what is made of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from views import sqlite_sql as sql
from views.table import Row, Table


class SqliteSnapshot:
    """Open until `close`: the write-ahead log grows meanwhile. `vector` is what its rows hold, to the entry."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        self._connection.set_busy_timeout(5_000)
        self._connection.execute("BEGIN")
        rows: list[Any] = self._connection.execute("SELECT topic, shard, offset FROM progress").fetchall()
        self.vector: dict[tuple[str, int], int] = {(topic, shard): offset for topic, shard, offset in rows}

    def scan(self, table: Table) -> Iterator[Row]:
        return iter(self._connection.execute(sql.scan(table)))

    def scan_statics(self, table: Table) -> Iterator[Row]:
        return iter(self._connection.execute(sql.scan_statics(table)))

    def close(self) -> None:
        self._connection.close()
