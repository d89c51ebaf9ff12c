"""What entries make of a store that holds nothing: the stages that fill the views, over no rows, writing none.

Does not own which entries, nor what is held against the rows (`processors.audit`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from processors.batch import Stages
from processors.decode import Decoder
from processors.plan import Plan
from schemas.entries import Derived
from schemas.lexicon import load
from schemas.operations import Operation
from views.store import Batch, Progress
from views.table import Key, Row, Table
from views.view import FanoutSettings, View


class Expected:
    """Made once; `of` as often as wanted, one at a time."""

    def __init__(self, views: Sequence[View]) -> None:
        self._plan = Plan(views)
        self._decoder = Decoder(load(), self._plan.collections)

    async def of(
        self,
        entries: Sequence[Derived],
        skipped: Collection[int],
        operations: Sequence[Operation] = (),
        skipped_operations: Collection[int] = (),
    ) -> Batch:
        """All rows and statics of these, which rise in offset; `skipped` are offsets that make none."""
        stages = Stages(self._plan, self._decoder, _Nothing(), Progress({}, {}), shards=1, settings=FanoutSettings())
        stages.begin()
        await stages.feed(0, entries, skipped)
        await stages.feed_operations(0, operations, skipped_operations)
        return stages.finish()


class _Nothing:
    """A store before anything was written."""

    async def get_many(self, _table: Table, keys: Sequence[Key]) -> list[Row | None]:
        return [None] * len(keys)

    async def slice(
        self,
        _table: Table,
        _partition: Key,
        *,
        after: Key | None = None,  # noqa: ARG002 - the port's
        until: Key | None = None,  # noqa: ARG002
        limit: int,  # noqa: ARG002
        reverse: bool = False,  # noqa: ARG002
    ) -> list[Row]:
        return []

    async def statics(self, _table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        return [None] * len(partitions)

    async def apply(self, _batch: Batch) -> None:
        raise AssertionError("what an audit computes is not written")

    async def progress(self) -> Progress:
        return Progress({}, {})
