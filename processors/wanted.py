"""What a batch of `records` will ask the store for, known before any of it is taken: read in a few calls.

Does not own what is done with the answers (`processors.step`), nor what a lane knows without asking
(`processors.lanes.ahead`). HOT.
"""

from __future__ import annotations

from collections.abc import Sequence

from processors.decode import Decoder
from processors.plan import Plan
from schemas.entries import RecordEntry
from views.overlay import UNREAD, Overlay
from views.record import Record
from views.records import TABLE
from views.table import Key, Table

Asked = tuple[RecordEntry, Sequence[tuple[Table, Key]]]
"""A record, and the first rows (table, prefix) that decide whether it counts."""


class Wanted:
    """Of one batch of one shard, gathered entry by entry."""

    __slots__ = ("_decoder", "_plan", "asked", "counted", "firsts", "leaving", "merged")

    def __init__(self, plan: Plan, decoder: Decoder) -> None:
        self._plan = plan
        self._decoder = decoder
        self.asked: list[Asked] = []
        self.merged: list[Key] = []
        """Accounts whose merged rows change."""
        self.firsts: dict[Table, list[Key]] = {}
        """Prefixes whose first row is asked for."""
        self.leaving: dict[tuple[Table, Key], None] = {}
        """Prefixes whose first row may go: then the one behind it is asked for."""
        self.counted: dict[Table, list[Key]] = {}
        """Partitions whose statics are."""

    def add(self, entry: RecordEntry, record: Record | None) -> None:
        plan = self._plan
        deciding: list[tuple[Table, Key]] = []
        self.asked.append((entry, deciding))
        if record is None:
            return
        source = entry.collection
        if source in plan.merges:
            self.merged.append((entry.did,))
        for feed in plan.direct.get(source, ()):
            if feed.tally is not None:
                self.counted.setdefault(feed.table, []).extend(partition for partition, _ in feed.tally(record))
            if feed.first is None:
                continue
            for row in feed.rows(record):
                prefix = row[: feed.table.key_size - 1]
                self.firsts.setdefault(feed.table, []).append(prefix)
                deciding.append((feed.table, prefix))
                for after in plan.direct.get(feed.first, ()):
                    if after.tally is not None:
                        self.counted.setdefault(after.table, []).extend(partition for partition, _ in after.tally(row))

    def add_before(self, overlay: Overlay) -> bool:
        """What the values before will ask, which the overlay knows; whether they ask for anything."""
        plan, firsts, counted, added = self._plan, self.firsts, self.counted, False
        for entry, _ in self.asked:
            feeds = plan.direct.get(entry.collection, ())
            if not any(feed.first is not None or feed.tally is not None for feed in feeds):
                continue
            row = overlay.known(TABLE, (entry.did, entry.collection, entry.rkey))
            before = None if row is UNREAD or row is None else self._decoder.before(row)
            if before is None:
                continue
            added = True
            for feed in feeds:
                if feed.tally is not None:
                    counted.setdefault(feed.table, []).extend(partition for partition, _ in feed.tally(before))
                if feed.first is not None:
                    prefixes = [row[: feed.table.key_size - 1] for row in feed.rows(before)]
                    firsts.setdefault(feed.table, []).extend(prefixes)
                    self.leaving.update(dict.fromkeys((feed.table, prefix) for prefix in prefixes))
        return added

    async def load_merged(self, overlay: Overlay) -> None:
        if self.merged:
            for table in self._plan.merging:
                await overlay.load(table, self.merged)


async def read_in_turn(wanted: Wanted, overlay: Overlay) -> None:
    """One table after the other, where asking takes no time: first rows before the counts that they decide."""
    await overlay.load(TABLE, [(entry.did, entry.collection, entry.rkey) for entry, _ in wanted.asked])
    wanted.add_before(overlay)
    for table, prefixes in wanted.firsts.items():
        await overlay.load_firsts(table, prefixes)
    for table, partitions in wanted.counted.items():
        await overlay.load_statics(table, partitions)
    await wanted.load_merged(overlay)
