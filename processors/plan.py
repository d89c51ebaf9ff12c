"""Which views each source feeds: `views.ALL` turned round once, at start.

Does not own what the views do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.errors import InvariantError
from schemas.topics import OPERATIONS
from views.table import Row, Table
from views.view import Merge, Rows, Tally, View

# Messages one entry may send to one view: half for what was there before, half for what is there now.
SLOTS = 1024


class Feed(NamedTuple):
    """What one view makes of one source; `slot` is where its messages' index begins."""

    name: str
    table: Table
    rows: Rows
    tally: Tally | None
    first: str | None
    slot: int


def _no_rows(_thing: object) -> Sequence[Row]:
    return ()


class Plan:
    """`direct`: written in the shard of the record. `edges`: sent to the shard of the subject.

    `operations`: written in the shard of the owner, by kind of operation.
    """

    def __init__(self, views: Sequence[View]) -> None:
        self.views = {view.name: view for view in views}
        if len(self.views) != len(views):
            raise InvariantError("two views of one name in views.ALL")
        self.direct: dict[str, list[Feed]] = {}
        self.edges: dict[str, list[Feed]] = {}
        self.operations: dict[str, list[Feed]] = {}
        self.merges: dict[str, list[tuple[View, Merge]]] = {}
        for ordinal, view in enumerate(views):
            if view.table.source == OPERATIONS and (view.tallies or view.first or view.merge or view.fold):
                raise InvariantError(f"{view.name}: a view of operations says rows and nothing else")
            for source in dict.fromkeys((*view.rows, *view.tallies)):
                feed = Feed(
                    view.name,
                    view.table,
                    view.rows.get(source, _no_rows),
                    view.tallies.get(source),
                    view.first if source in view.rows else None,
                    ordinal * SLOTS,
                )
                if view.table.source == OPERATIONS:
                    feeds = self.operations
                else:
                    feeds = self.direct if view.table.source == "records" else self.edges
                feeds.setdefault(source, []).append(feed)
            for source, merge in view.merge.items():
                self.merges.setdefault(source, []).append((view, merge))
        self.merging = [view.table for view in views if view.merge]
        sources = {*self.direct, *self.edges, *self.merges}
        self.collections = frozenset(source for source in sources if not source.startswith("#"))
