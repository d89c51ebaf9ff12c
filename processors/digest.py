"""What a generation holds, in one number a view: equal digests mean equal views, in any mode and on any store.

Leaves out versions and `applied`, which depend on how entries were laid out in shards, and the tables whose rows
depend on the order between shards: of timelines the answers are compared instead (invariant 9). A count of zero is
as good as none. Does not own how a store is scanned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, Protocol

import msgspec

from views.table import Row, Table
from views.view import View

ORDER_DEPENDENT: Final = frozenset({"timelines", "recent_by_author", "big_authors"})
_VERSIONS: Final = frozenset({"offset", "applied"})


class Scanned(Protocol):
    """What an adapter offers besides the port, for whole copies alone."""

    def scan(self, table: Table) -> Iterable[Row]:
        """Every row, in key order."""
        ...

    def scan_statics(self, table: Table) -> Iterable[Row]:
        """(partition, statics) of every partition that has some, in key order."""
        ...


def digests(store: Scanned, views: Sequence[View]) -> dict[str, str]:
    return {view.name: digest(store, view.table) for view in views if view.name not in ORDER_DEPENDENT}


def digest(store: Scanned, table: Table) -> str:
    """SHA-256 over the rows in the order of their encoded form, so that no store's collation matters."""
    kept = [place for place, column in enumerate(table.all_columns) if column.name not in _VERSIONS]
    lines = [msgspec.msgpack.encode([row[place] for place in kept]) for row in store.scan(table)]
    if table.statics:
        size = table.partition_size
        places = [size + place for place, column in enumerate(table.statics) if column.name not in _VERSIONS]
        counted = (row for row in store.scan_statics(table) if any(row[place] for place in places))
        lines += [msgspec.msgpack.encode([*row[:size], *(row[place] for place in places)]) for row in counted]
    lines.sort()
    total = sha256()
    for line in lines:
        total.update(len(line).to_bytes(4, "big") + line)
    return total.hexdigest()
