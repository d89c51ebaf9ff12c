"""Two whole copies of the views compared: by digest a view and bucket, then row by row where buckets differ.

Each copy must stand still, or both must be at one watermark vector and scanned as of it. Does not own bringing them
there (`processors.rebuild.embedded`, `processors.rebuild.kafka`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from processors.digest import BUCKETS, Line, Lines, Scanned, Sums, comparable, lines_of, measure
from views.table import Key, Row, Table
from views.view import View

NAMED_MOST: Final = 100
_HELD: Final = 200_000  # lines of one copy in memory


class Difference(msgspec.Struct, frozen=True):
    """A row (or a partition's statics) that the copies do not agree on; None where one has none."""

    view: str
    key: Key
    statics: bool
    left: Row | None
    right: Row | None


class ViewDiff(msgspec.Struct, frozen=True):
    """`buckets` of `processors.digest.BUCKETS` differ; `rows` names at most `NAMED_MOST`."""

    view: str
    left: str
    right: str
    lines: tuple[int, int]
    buckets: int
    rows: tuple[Difference, ...]


async def compare(left: Scanned, right: Scanned, views: Sequence[View], most: int = NAMED_MOST) -> list[ViewDiff]:
    return [await _compare(left, right, view.table, most) for view in comparable(views)]


async def _compare(left: Scanned, right: Scanned, table: Table, most: int) -> ViewDiff:
    ours, theirs = await measure(left, table), await measure(right, table)
    buckets = ours.differing(theirs)
    rows: list[Difference] = []
    at = 0
    while at < len(buckets) and len(rows) < most:
        some = _some(buckets[at:], ours)
        rows += await _name(left, right, table, some, most - len(rows))
        at += len(some)
    return ViewDiff(
        table.name, ours.digest(), theirs.digest(), (sum(ours.lines), sum(theirs.lines)), len(buckets), tuple(rows)
    )


def _some(buckets: Sequence[int], sums: Sums) -> frozenset[int]:
    """The first buckets, as many as may be held; at least one."""
    held = 0
    for count, bucket in enumerate(buckets):
        held += sums.lines[bucket]
        if count and held > _HELD:
            return frozenset(buckets[:count])
    return frozenset(buckets)


async def _name(left: Scanned, right: Scanned, table: Table, buckets: frozenset[int], most: int) -> list[Difference]:
    lines = Lines(table)
    held: dict[tuple[bool, Key], Line] = {}
    async for line in lines_of(left, table):
        if len(buckets) == BUCKETS or lines.bucket(line) in buckets:
            held[line.statics, line.key] = line
    found: list[Difference] = []
    async for line in lines_of(right, table):
        if len(buckets) == BUCKETS or lines.bucket(line) in buckets:
            ours = held.pop((line.statics, line.key), None)
            if ours != line and len(found) < most:
                found.append(
                    Difference(table.name, line.key, line.statics, None if ours is None else ours.row, line.row)
                )
    gone = [Difference(table.name, key, statics, line.row, None) for (statics, key), line in held.items()]
    return (found + gone)[:most]
