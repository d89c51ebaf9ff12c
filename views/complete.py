"""Up to where every view is complete: the one vector of freshness, diff, flip and read-your-writes.

An entry of `records` is in every view when the first stage has taken it, every shard of `edges` has what that sent,
and every shard of `fanout` has what those sent: each says so by watermarks. Does not own who sends them.
"""

from __future__ import annotations

from schemas.topics import EDGES, FANOUT, OPERATIONS, RECORDS
from views.store import Progress

_NONE: tuple[int, ...] = ()


def complete(progress: Progress, shards: int) -> tuple[int, ...]:
    """For each shard of `records`, the offset up to which all views show it."""
    found = [progress.vector.get((RECORDS, shard), 0) for shard in range(shards)]
    for shard in range(shards):
        for sender in range(shards):
            found[sender] = min(found[sender], _at(progress.watermarks.get((EDGES, shard, sender), _NONE), 0))
            marks = progress.watermarks.get((FANOUT, shard, sender), _NONE)
            found = [min(offset, _at(marks, of)) for of, offset in enumerate(found)]
    return tuple(found)


def complete_operations(progress: Progress, shards: int) -> tuple[int, ...]:
    """For each shard of `operations`, the offset up to which all views show it: nothing of it goes through hops."""
    return tuple(progress.vector.get((OPERATIONS, shard), 0) for shard in range(shards))


def newest_times(progress: Progress, shards: int) -> tuple[int, ...]:
    """For each shard of `records`, the log time (unix microseconds) of the newest entry that was taken; 0 for none."""
    return tuple(_at(progress.watermarks.get((RECORDS, shard, shard), _NONE), 2) for shard in range(shards))


def taken(progress: Progress, shards: int) -> int:
    """How many changes of `records` the first stage has taken, ever: their numbers are dense in each shard."""
    return sum(_at(progress.watermarks.get((RECORDS, shard, shard), _NONE), 0) for shard in range(shards))


def _at(values: tuple[int, ...], place: int) -> int:
    return values[place] if place < len(values) else 0
