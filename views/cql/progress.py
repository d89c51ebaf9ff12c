"""A lane's progress as rows: one partition of `views.cql.schema.PROGRESS`, so that it changes as a whole.

Were a mark left behind the position beside it, a message sent twice would be let in twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final

from views.store import Batch, Progress
from views.table import Key, Row

MARK: Final = "mark"
WATERMARK: Final = "watermark"
REACH: Final = "reach"
Lane = tuple[str, int]


def progress_partition(batch: Batch) -> dict[Lane, tuple[int | None, int, dict[Key, Row]]]:
    """Of each lane (a batch has one): its new position if there is one, the offset to write at, its rows."""
    newest = max(batch.vector.values(), default=0)
    found: dict[Lane, tuple[int | None, int, dict[Key, Row]]] = {}

    def rows(lane: Lane) -> dict[Key, Row]:
        position = batch.vector.get(lane)
        return found.setdefault(lane, (position, newest if position is None else position, {}))[2]

    for lane in batch.vector:
        rows(lane)
    for (hop, shard, topic, source), (offset, index) in batch.marks.items():
        rows((hop, shard))[MARK, topic, source] = (hop, shard, MARK, topic, source, offset, index, "")
    for (hop, shard, sender), vector in batch.watermarks.items():
        row = (hop, shard, WATERMARK, "", sender, 0, 0, ",".join(map(str, vector)))
        rows((hop, shard))[WATERMARK, "", sender] = row
    return found


def reach_row(topic: str, shard: int, offset: int) -> Row:
    return (topic, shard, REACH, "", 0, offset, 0, "")


def progress_from(rows: Iterable[Row]) -> Progress:
    """From rows that end in their partition's position."""
    found = Progress({}, {}, {}, {})
    for topic, shard, kind, source, source_shard, offset, index, vector, position in rows:
        if position is not None:
            found.vector[topic, shard] = position
        if kind == MARK:
            found.marks[topic, shard, source, source_shard] = (offset, index)
        elif kind == WATERMARK:
            found.watermarks[topic, shard, source_shard] = tuple(int(each) for each in vector.split(",") if each)
        elif kind == REACH:
            found.reached[topic, shard] = offset
    return found


async def merged(rows: AsyncIterator[Row]) -> Progress:
    return progress_from([row async for row in rows])
