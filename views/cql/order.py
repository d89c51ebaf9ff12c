"""In which order a batch reaches a store whose batches may be torn: the one place that says so (invariant 4).

Waves, each acknowledged before the next begins; a batch that stops between two of them is redone from its progress,
and must then come to the same rows:

0. Rows of tables that decide nothing, and of `edges` the members of sets whose count is in another partition.
1. Tables whose rows decide what an entry sends or whether it is folded in: merged rows, first rows, folds of one's own.
2. `records` and `operations`: once a row is there its entry counts as done.
3. Progress, by the store.

A partition with statics is one mutation: whole or not at all. Only when it outgrows one is it cut: of `edges` the
statics (with `applied`) then come last, of others first: there they claim less than the rows hold. Does not own
statements nor versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import views
from views import operations, records
from views.store import Batch
from views.table import Key, Row, Table

Partitions = list[tuple[Table, Key, Mapping[Key, Row | None], Row | None]]
"""Table, partition, its rows, its statics (None where they do not change)."""

DECIDING: Final = frozenset(view.table for view in views.ALL if view.merge or view.first or view.fold)
_BEFORE_IMAGES: Final = frozenset((records.TABLE, operations.TABLE))
WAVES: Final = 3


def waves(batch: Batch) -> tuple[Partitions, ...]:
    """Every partition of the batch, in `WAVES` waves."""
    found: tuple[Partitions, ...] = ([], [], [])
    for table in dict.fromkeys((*batch.rows, *batch.statics)):
        rows, statics = batch.rows.get(table, {}), batch.statics.get(table, {})
        for partition in dict.fromkeys((*rows, *statics)):
            changed = statics.get(partition)
            found[_wave(table, counted=changed is not None)].append(
                (table, partition, rows.get(partition, {}), changed)
            )
    return found


def statics_first(table: Table) -> bool:
    """Of a partition too large for one mutation. An edge's rows are skipped where `applied` is at its offset."""
    return table.source != "edges"


def _wave(table: Table, *, counted: bool) -> int:
    if table in _BEFORE_IMAGES:
        return 2
    if table not in DECIDING:
        return 0
    return 0 if table.source == "edges" and not counted else 1
