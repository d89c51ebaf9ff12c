"""One entry of `operations`, with what its key held before, becomes row writes. It sends nothing on.

Deterministic in the entry and the row it reads. Does not own batches nor progress.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from processors.plan import Plan
from schemas.operations import Operation
from schemas.syntax import Did
from views.operations import TABLE
from views.overlay import Overlay
from views.table import Key, Row

_OFFSET: Final = TABLE.index("offset")


def _key(operation: Operation) -> Key:
    return operation.did, operation.kind, operation.subject


async def prepare(operations: Sequence[Operation], overlay: Overlay) -> None:
    """Read in one go what `take` will ask for."""
    await overlay.load(TABLE, [_key(operation) for operation in operations])


async def take(operation: Operation, plan: Plan, overlay: Overlay) -> None:
    """HOT. A before-image at or above the entry means that it is done (invariant 4)."""
    key = _key(operation)
    old = await overlay.get(TABLE, key)
    if old is not None and old[_OFFSET] >= operation.offset:
        return
    if operation.value is None:
        overlay.delete(TABLE, key)
    else:
        overlay.put(TABLE, (*key, operation.value, operation.time, operation.offset))
    before = None if old is None else _of_row(old)
    for feed in plan.operations.get(operation.kind, ()):
        size = feed.table.key_size
        rows: Sequence[Row] = () if operation.value is None else feed.rows(operation)
        kept = {row[:size] for row in rows}
        for row in () if before is None else feed.rows(before):
            if row[:size] not in kept:
                overlay.delete(feed.table, row[:size])
        for row in rows:
            overlay.put(feed.table, row)


def _of_row(row: Row) -> Operation:
    did, kind, subject, value, time, offset = row
    return Operation(Did(did), kind, subject, value, time, offset)
