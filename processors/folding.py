"""The second and third stage: edges into the partitions of their subjects, fans into timelines. HOT.

Each takes messages of one shard in the order they came and writes to the batch's overlay; the edges stage sends on.
Does not own queues, marks or progress.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

from processors.plan import Plan
from schemas.topics import EDGES, shard_of
from views import followers, timelines
from views.fold import fold_rows
from views.overlay import Overlay
from views.recent_by_author import TABLE as RECENT
from views.table import Key, Row, Table
from views.view import Edge, Fan, FanoutSettings

_FOLLOWERS = followers.TABLE
_TIMELINES = timelines.TABLE
_ACTOR = _FOLLOWERS.index("actor")


class FollowerSets:
    """Who follows whom, of the authors that posted lately: bounded by followers held, oldest author out first.

    Right as long as its shard's edges are folded through it and every batch it has seen is applied.
    """

    def __init__(self, bound: int = 200_000) -> None:
        self._sets: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._bound = bound
        self._held = 0

    def get(self, did: str) -> dict[str, int] | None:
        found = self._sets.get(did)
        if found is not None:
            self._sets.move_to_end(did)
        return found

    def put(self, did: str, members: dict[str, int]) -> None:
        self._sets[did] = members
        self._held += len(members) + 1
        while self._held > self._bound and len(self._sets) > 1:
            _, out = self._sets.popitem(last=False)
            self._held -= len(out) + 1

    def drop(self, did: str) -> None:
        members = self._sets.pop(did, None)
        if members is not None:
            self._held -= len(members) + 1

    def change(self, did: str, gone: Iterable[str], come: Mapping[str, int]) -> None:
        members = self._sets.get(did)
        if members is None:
            return
        had = len(members)
        for reader in gone:
            members.pop(reader, None)
        members.update(come)
        self._held += len(members) - had


class Folder:
    """The edges stage of one shard; `views.view.Folding` to the views that fold in their own way."""

    def __init__(
        self,
        plan: Plan,
        shard: int,
        shards: int,
        settings: FanoutSettings,
        send: Callable[[int, Fan], None],
    ) -> None:
        self._plan = plan
        self._shard = shard
        self._shards = shards
        self._settings = settings
        self._send = send
        self._sets = FollowerSets()
        self._overlay: Overlay | None = None
        self._offset = 0

    @property
    def settings(self) -> FanoutSettings:
        return self._settings

    def begin(self, overlay: Overlay) -> None:
        self._overlay = overlay

    @property
    def _open(self) -> Overlay:
        if self._overlay is None:
            raise AssertionError("begin(overlay) comes first")
        return self._overlay

    async def prepare(self, edges: Sequence[Edge]) -> None:
        """Read ahead the statics that folding these edges will ask for."""
        for table, partitions in self.counted(edges).items():
            await self._open.load_statics(table, partitions)

    def counted(self, edges: Sequence[Edge]) -> dict[Table, list[Key]]:
        """The partitions whose statics folding these edges will ask for."""
        views = self._plan.views
        counted: dict[Table, list[Key]] = {}
        for edge in edges:
            if edge.deltas:
                counted.setdefault(views[edge.view].table, []).append(edge.counted)
            elif edge.view == RECENT.name:
                counted.setdefault(RECENT, []).append((edge.subject,))
                counted.setdefault(_FOLLOWERS, []).append((edge.subject, 0))
        return counted

    async def load_followers(self, did: str) -> None:
        """Read ahead whom a post of theirs would be pushed to, if to anybody."""
        followers, _ = await self.follower_count(did)
        if 0 < followers <= self._settings.pull_above:
            await self.followers(did)

    async def fold(self, edge: Edge, offset: int) -> None:
        self._offset = offset
        view = self._plan.views[edge.view]
        if view.fold is None:
            await fold_rows(view.table, edge, offset, self._open)
        else:
            await view.fold(edge, offset, self._open, self)

    async def follower_count(self, did: str) -> tuple[int, int]:
        statics = await self._open.statics(_FOLLOWERS, (did, 0))
        return (0, 0) if statics is None else (statics[0], statics[1])

    async def followers(self, did: str) -> Mapping[str, int]:
        members = self._sets.get(did)
        if members is None:
            limit, overlay = self._settings.pull_above + 1, self._open
            asked = [overlay.slice(_FOLLOWERS, (did, bucket), limit) for bucket in range(followers.BUCKETS)]
            members = {row[_ACTOR]: self.shard_of(row[_ACTOR]) for rows in await asyncio.gather(*asked) for row in rows}
            self._sets.put(did, members)
        return members

    def followers_changed(self, did: str, gone: Iterable[str], come: Iterable[str]) -> None:
        self._sets.change(did, gone, {reader: self.shard_of(reader) for reader in come})

    def followers_unknown(self, did: str) -> None:
        self._sets.drop(did)

    def shard_of(self, did: str) -> int:
        return shard_of(did, self._shards)

    def send(
        self,
        readers: Mapping[str, int],
        drops: tuple[Key, ...],
        puts: tuple[Row, ...],
        complete_since: int | None = None,
    ) -> None:
        src = (EDGES, self._shard, self._offset, 0)
        if self._shards == 1:
            self._send(0, Fan(src, tuple(readers), drops, puts, complete_since))
            return
        parts: dict[int, list[str]] = {}
        for reader, shard in readers.items():
            parts.setdefault(shard, []).append(reader)
        for shard in sorted(parts):
            self._send(shard, Fan(src, tuple(parts[shard]), drops, puts, complete_since))


async def fold_fan(fan: Fan, offset: int, overlay: Overlay, settings: FanoutSettings) -> None:
    """Write pointers into the readers' timelines; cut one that has grown too long now and then."""
    changes: list[tuple[Key, Row | None]] = [(key, None) for key in fan.drops]
    changes += [(row[:3], row) for row in fan.puts]
    overlay.put_each(_TIMELINES, fan.readers, changes)
    if fan.complete_since is not None:
        for reader in fan.readers:
            await _raise_complete_since(reader, fan.complete_since, offset, overlay)
    if fan.puts:
        every = settings.trim_every
        for place, reader in enumerate(fan.readers):
            if (offset + place) % every == 0:
                await _trim(reader, offset, overlay, settings.keep)


async def _raise_complete_since(reader: str, since: int, offset: int, overlay: Overlay) -> None:
    statics = await overlay.statics(_TIMELINES, (reader,))
    if statics is None or statics[0] is None or statics[0] < since:
        overlay.raise_static(_TIMELINES, (reader,), (since, offset))


async def _trim(reader: str, offset: int, overlay: Overlay, keep: int) -> None:
    rows = (await overlay.stored(_TIMELINES, (reader,), keep + _AT_ONCE))[keep:]
    if rows:
        await _raise_complete_since(reader, rows[0][1], offset, overlay)
        for row in rows:
            overlay.delete(_TIMELINES, row[:4])


_AT_ONCE = 1_000
