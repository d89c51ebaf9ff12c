"""The first stage: one entry of `records`, with what its keys held before, becomes row writes and onward messages.

Deterministic in the entry and the rows it reads; no clock, no order between shards. A message's index is computed
from the entry and its before-image alone (EXACTNESS 3). Does not own batches, progress or where messages go. HOT.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from processors.decode import Decoder
from processors.plan import SLOTS, Feed, Plan
from processors.wanted import Wanted, read_in_turn
from schemas.entries import AccountEntry, Derived, HeadEntry, RecordEntry, TakedownEntry
from schemas.errors import InvariantError
from schemas.topics import RECORDS
from views.overlay import UNREAD, Overlay
from views.record import Record
from views.records import TABLE
from views.table import Key, Row, Table
from views.view import ACCOUNT, HEAD, TAKEDOWN, Edge

_HALF = SLOTS // 2
_OFFSET = TABLE.index("offset")


class Step:
    """The stage of one shard within one batch; `messages` is taken by who runs it."""

    def __init__(
        self,
        plan: Plan,
        decoder: Decoder,
        overlay: Overlay,
        shard: int,
        read: Callable[[Wanted, Overlay], Awaitable[None]] = read_in_turn,
    ) -> None:
        """`read` makes the overlay know what a batch wants, as far as it can be told before."""
        self._read = read
        self._plan = plan
        self._decoder = decoder
        self._overlay = overlay
        self._shard = shard
        self._offset = 0
        self._did = ""
        self._counted: set[tuple[Table, Key]] = set()
        self.messages: list[Edge] = []

    async def prepare(
        self, entries: Iterable[Derived], breathe: Callable[[], Awaitable[None]]
    ) -> list[tuple[Derived, Record | None, str]]:
        """Decode, and read in a few statements most of what `take` will need."""
        decoder = self._decoder
        wanted = Wanted(self._plan, decoder)
        ready: list[tuple[Derived, Record | None, str]] = []
        for entry in entries:
            if type(entry) is not RecordEntry:
                ready.append((entry, None, ""))
                if type(entry) is AccountEntry:
                    wanted.merged.append((entry.did,))
                continue
            if not len(wanted.asked) & 15:
                await breathe()
            record, invalid = decoder.after(entry)
            ready.append((entry, record, invalid))
            wanted.add(entry, record)
        await self._read(wanted, self._overlay)
        return ready

    async def take(self, entry: Derived, record: Record | None, invalid: str) -> None:
        self._offset = entry.offset
        self._counted.clear()
        sent = len(self.messages)
        if type(entry) is RecordEntry:
            await self._take_record(entry, record, invalid)
        elif type(entry) is HeadEntry:
            for feed in self._plan.direct[HEAD]:
                for row in feed.rows(entry):
                    self._overlay.put(feed.table, row)
        elif type(entry) is AccountEntry:
            self._did = entry.did
            await self._change(ACCOUNT, None, entry)
        elif type(entry) is TakedownEntry:
            await self._change(TAKEDOWN, *((None, entry) if entry.takedown else (entry, None)))
        if len(self.messages) > sent + 1:
            self.messages[sent:] = sorted(self.messages[sent:], key=lambda message: message.src)

    async def _take_record(self, entry: RecordEntry, after: Record | None, invalid: str) -> None:
        overlay = self._overlay
        did, collection = entry.did, entry.collection
        key = (did, collection, entry.rkey)
        row = await overlay.get(TABLE, key)
        if row is not None and row[_OFFSET] >= entry.offset:
            return
        if entry.value is None or entry.cid is None:
            overlay.delete(TABLE, key)
        else:
            overlay.put(
                TABLE, (*key, str(entry.cid), entry.value, str(entry.rev), entry.first_time, entry.offset, invalid)
            )
        if collection not in self._plan.collections:
            return
        before = None if row is None else self._decoder.before(row)
        if before is None and after is None:
            return
        self._did = did
        await self._change(collection, before, after)

    async def _change(self, source: str, before: Any, after: Any, half: int = 0) -> None:
        plan = self._plan
        for view, merge in plan.merges.get(source, ()):
            key = (self._did,)
            old = await self._overlay.get(view.table, key)
            new = merge(old, self._did, after)
            if new is not None and new != old:
                self._overlay.put(view.table, new)
            if view.merged is not None:
                await self._change(view.merged, old, new)
        if before is None:
            for feed in plan.direct.get(source, ()):
                await self._write_new(feed, after)
            for feed in plan.edges.get(source, ()):
                self._send_new(feed, after, half)
        else:
            for feed in plan.direct.get(source, ()):
                await self._write(feed, before, after)
            for feed in plan.edges.get(source, ()):
                self._send(feed, before, after, half)

    async def _write_new(self, feed: Feed, after: Any) -> None:
        """`_write` when there was nothing before: what most entries do."""
        overlay, table = self._overlay, feed.table
        rows = feed.rows(after)
        if feed.first is None:
            for row in rows:
                overlay.put(table, row)
        else:
            size = table.key_size
            for row in rows:
                prefix = row[: size - 1]
                old = overlay.known_first(table, prefix)
                if old is UNREAD:
                    old = await overlay.first(table, prefix)
                overlay.put(table, row)
                if old is None or row[:size] <= old[:size]:
                    overlay.set_first(table, prefix, row)
                    await self._change(feed.first, old, row, _HALF)
        if feed.tally is not None:
            for partition, place in feed.tally(after):
                await self._count(table, partition, ((place, 1),))

    async def _write(self, feed: Feed, before: Any, after: Any) -> None:
        overlay, table = self._overlay, feed.table
        size = table.key_size
        rows = () if after is None else feed.rows(after)
        kept = {row[:size] for row in rows}
        gone = [key for row in feed.rows(before) if (key := row[:size]) not in kept]
        for key in gone:
            overlay.delete(table, key)
        if feed.first is None:
            for row in rows:
                overlay.put(table, row)
        else:
            await self._first(table, feed.first, gone, rows)
        if feed.tally is not None:
            deltas = _deltas(feed, before, after)
            for partition in {partition for partition, _ in deltas}:
                of = [(place, by) for (counted, place), by in deltas.items() if counted == partition]
                await self._count(table, partition, of)

    async def _count(self, table: Table, partition: Key, deltas: Sequence[tuple[int, int]]) -> None:
        statics = self._overlay.known_statics(table, partition)
        if statics is UNREAD:
            statics = await self._overlay.statics(table, partition)
        values = [0] * len(table.statics) if statics is None else list(statics)
        # A follow that is put again with another subject counts twice in one partition, in one batch.
        if values[-1] >= self._offset and (table, partition) not in self._counted:
            return
        self._counted.add((table, partition))
        for place, delta in deltas:
            values[place] += delta
        values[-1] = self._offset
        self._overlay.put_statics(table, partition, tuple(values))

    async def _first(self, table: Table, source: str, gone: list[Key], rows: Sequence[Row]) -> None:
        """Of an actor's records of one subject the smallest rkey counts; say on when that one changes."""
        overlay = self._overlay
        size = table.key_size
        added = {row[: size - 1]: row for row in rows}
        removed = {key[:-1]: key for key in gone}
        # What was there before has the first half of the slots: an entry touches at most these two subjects.
        prefixes = dict.fromkeys((*removed, *added))
        firsts = {prefix: await overlay.first(table, prefix) for prefix in prefixes}
        for row in rows:
            overlay.put(table, row)
        for prefix in prefixes:
            old, new = firsts[prefix], added.get(prefix)
            if old is not None and (new is None or new[:size] > old[:size]):
                if removed.get(prefix) == old[:size]:
                    left = await overlay.slice(table, prefix, 1)
                    new = left[0] if left else None
                else:
                    new = old
            overlay.set_first(table, prefix, new)
            if new != old:
                await self._change(source, old, new, 0 if prefix in removed else _HALF)

    def _send_new(self, feed: Feed, after: Any, half: int) -> None:
        """`_send` when there was nothing before and one subject is told."""
        rows = feed.rows(after)
        if not rows:
            return
        if len(rows) > 1:
            self._send(feed, None, after, half)
            return
        src = (RECORDS, self._shard, self._offset, feed.slot + half)
        counted: Key = ()
        deltas: tuple[tuple[int, int], ...] = ()
        if feed.tally is not None:
            ((counted, place),) = feed.tally(after)
            deltas = ((place, 1),)
        self.messages.append(Edge(src, feed.name, rows[0][0], (), tuple(rows), counted, deltas))

    def _send(self, feed: Feed, before: Any, after: Any, half: int) -> None:
        size = feed.table.key_size
        puts: dict[Key, Row] = {} if after is None else {row[:size]: row for row in feed.rows(after)}
        drops: dict[Key, Row] = {} if before is None else {row[:size]: row for row in feed.rows(before)}
        for key in [key for key, row in drops.items() if puts.get(key) == row]:
            del puts[key], drops[key]
        if not puts and not drops:
            return
        counts = _deltas(feed, before, after)
        subjects = sorted({key[0] for key in (*drops, *puts)})
        if len(subjects) > _HALF:
            raise InvariantError(f"{feed.name}: {len(subjects)} messages of one entry")
        for ordinal, subject in enumerate(subjects):
            deltas = [(partition, place, by) for (partition, place), by in counts.items() if partition[0] == subject]
            self.messages.append(
                Edge(
                    (RECORDS, self._shard, self._offset, feed.slot + half + ordinal),
                    feed.name,
                    subject,
                    tuple(key for key in drops if key[0] == subject and key not in puts),
                    tuple(row for key, row in puts.items() if key[0] == subject),
                    deltas[0][0] if deltas else (),
                    tuple((place, by) for _, place, by in deltas),
                )
            )


def _deltas(feed: Feed, before: Any, after: Any) -> dict[tuple[Key, int], int]:
    """What the counts change by: put minus drop."""
    tally = feed.tally
    if tally is None:
        return {}
    deltas: dict[tuple[Key, int], int] = {}
    if after is not None:
        for counted in tally(after):
            deltas[counted] = deltas.get(counted, 0) + 1
    if before is not None:
        for counted in tally(before):
            deltas[counted] = deltas.get(counted, 0) - 1
    return {counted: by for counted, by in deltas.items() if by}
