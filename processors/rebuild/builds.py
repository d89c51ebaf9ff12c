"""What an operator does with generations, in any mode: build, list, diff, flip, drop.

`processors.rebuild.embedded` does it in one process, `processors.rebuild.kafka` in a cluster. Does not own the registry
(`views.generations`) nor what is printed of it (`headrace.commands.views_live`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from processors.rebuild.diff import Difference, ViewDiff
from views.generations import State

GAP_MOST = 10_000  # entries that two generations may be apart to be compared
CATCH_UP_SECONDS = 10.0  # that a flip waits for the new one to have seen what the old one has


class Standing(msgspec.Struct, frozen=True):
    """How far one generation is. `behind` is None where that is not known here; `fault` says why it does not go on."""

    name: str
    state: State
    created: int
    behind: int | None
    fault: str | None = None


class Diff(msgspec.Struct, frozen=True):
    """Two generations at one vector (topic, shard, offset)."""

    left: str
    right: str
    vector: Sequence[tuple[str, int, int]]
    views: Sequence[ViewDiff]

    @property
    def equal(self) -> bool:
        return all(view.left == view.right for view in self.views)


class Generations(Protocol):
    """Every method raises GenerationError for what cannot be done, with the cure."""

    async def build(self, name: str | None) -> Standing:
        """Begin another generation from the start of the log, beside the one that is read; it goes on by itself."""
        ...

    async def all(self) -> list[Standing]: ...

    async def diff(self, left: str, right: str) -> Diff:
        """Compare two at the same vector."""
        ...

    async def flip(self, name: str) -> Standing:
        """Let readers read it, in one step; the one they read keeps consuming until it is dropped."""
        ...

    async def drop(self, name: str) -> Standing:
        """End it and delete its rows; it cannot be flipped back to."""
        ...


def summary(diff: Diff) -> dict[str, object]:
    """A diff as JSON: digests of every view, and the rows that differ."""
    return {
        "equal": diff.equal,
        "left": diff.left,
        "right": diff.right,
        "vector": [list(place) for place in diff.vector],
        "views": {view.view: _of_view(view) for view in diff.views},
    }


def _of_view(view: ViewDiff) -> Mapping[str, object]:
    if view.left == view.right:
        return {"equal": True, "digest": view.left, "rows": view.lines[0]}
    return {
        "equal": False,
        "digests": [view.left, view.right],
        "rows": list(view.lines),
        "partition_buckets": view.buckets,
        "differing": [_of_row(row) for row in view.rows],
    }


def _of_row(row: Difference) -> Mapping[str, object]:
    return {
        "key": shown(row.key),
        "statics": row.statics,
        "left": None if row.left is None else shown(row.left),
        "right": None if row.right is None else shown(row.right),
    }


def shown(values: Sequence[object]) -> list[object]:
    """Bytes as text, cut where they are long."""
    return [value[:200].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value for value in values]
