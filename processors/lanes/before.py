"""The before-images of a batch of `records`: which are read, and which are known to be absent without.

`first_time` is the log time of the entry that created the key since its last delete: an entry whose own time it is
created it, unless an earlier one has the same time. None has, where the time lies above every time seen before this
batch; and within the batch the overlay knows. Not relied on where an operator left entries out (a deletion that is
skipped leaves a before-image), nor for a record that may be one of several of a subject, unless the lane knows by
itself which of them is the first: of a first row that a predecessor has changed already, who redoes must see that the
record is there as well, or it would count what has been taken back since.

A before-image that the log so far cannot have left was written by somebody ahead of this lane: then everything is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from processors.lanes.known import Known
from processors.wanted import Asked
from schemas.entries import RecordEntry
from views.overlay import Overlay
from views.records import TABLE
from views.table import Key

_OFFSET: Final = TABLE.index("offset")


async def read_before(asked: Sequence[Asked], seen: int | None, known: Known, overlay: Overlay) -> None:
    """Make the overlay know the before-image of every record.

    `seen` is at least the log time of every entry before these; None: not to be relied on.
    """
    first: dict[Key, Asked] = {}
    for each in asked:
        entry = each[0]
        first.setdefault((entry.did, entry.collection, entry.rkey), each)
    wanted: list[Key] = []
    absent: list[Key] = []
    for key, (entry, firsts) in first.items():
        alone = seen is not None and _made(entry) and entry.time > seen
        (absent if alone and known.knows_firsts(firsts) else wanted).append(key)
    await overlay.load(TABLE, wanted)
    for key in wanted:
        row, (entry, _) = await overlay.get(TABLE, key), first[key]
        if row[_OFFSET] >= entry.offset if row is not None else not _made(entry):
            known.doubt()
            await overlay.load(TABLE, absent)
            return
    for key in absent:
        overlay.assume(TABLE, key, None)


def _made(entry: RecordEntry) -> bool:
    """Whether nothing was there before, or only what was created at the same microsecond."""
    return entry.value is not None and entry.first_time == entry.time
