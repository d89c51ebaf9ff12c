"""The auditor: takes accounts at random and holds what the live views say of them against the log.

What an account's own records make is computed anew, alone, over a store that holds nothing; then
1. every row it makes is in the views as computed, also under others' subjects;
2. the partitions of its own hold no other row, also where it makes none, and their counts are the computed ones;
3. under a few of the subjects it touches, and among its followers, the counts are the number of rows, and each row's
   record is live.
So a row lost, left over or changed is found from the side of whoever made it, a count from the side of its subject.
Not covered: tables that depend on order between shards (`processors.digest.ORDER_DEPENDENT`), single rows and counts of
accounts and records that the log knows nothing of, accounts and subjects above the bounds below.

A difference counts when it is the same twice, the views having passed in between all that the first rested on. Does not
own when audits are made, nor how an account is found in the log (`Accounts`).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

import structlog

from processors.batch import Stages
from processors.decode import Decoder
from processors.digest import Lines, comparable
from processors.plan import Plan
from processors.rebuild.builds import shown
from processors.rebuild.diff import Difference
from schemas.entries import Derived
from schemas.lexicon import load
from schemas.topics import RECORDS
from views import author_feed, followers, interactions, likes_by_actor, posts, reposts_by_actor
from views.store import Batch, Progress, Store
from views.table import Key, Row, Table
from views.view import FanoutSettings, View

ENTRIES_MOST: Final = 5_000  # entries of one account
SUBJECTS_MOST: Final = 8  # subjects whose interactions are counted
MEMBERS_MOST: Final = 2_000  # rows of one partition that are counted
Reached = Callable[[int, int, float], Awaitable[bool]]

_ATTEMPTS: Final = 4
_WAIT_SECONDS: Final = 60.0
_LOGGED: Final = 20
_ACCOUNT: Final = frozenset({"did", "actor"})  # names of columns that say whose partition it is
_SECOND: Final = {
    author_feed.TABLE: range(author_feed.POSTS_WITH_VIDEO + 1),
    likes_by_actor.TABLE: range(likes_by_actor.BUCKETS),
    reposts_by_actor.TABLE: range(reposts_by_actor.BUCKETS),
}

_log = structlog.get_logger(__name__)


class Accounts(Protocol):
    """The log, account by account."""

    async def sample(self, count: int) -> list[str]:
        """At most `count` accounts at random; none when there are none."""
        ...

    async def entries(self, did: str, limit: int) -> list[Derived] | None:
        """The newest entry of each key that is there, in order of offset; None when there are more than `limit`."""
        ...

    async def ends(self) -> list[int]:
        """By shard, the newest entry of `records` that the other answers may rest on."""
        ...

    async def live(self, did: str, path: str) -> bool:
        """Whether there is a record at "collection/rkey"."""
        ...


class Auditor:
    """`audited` accounts and `divergent` rows, ever. `reached` waits for the views (`EmbeddedRunner.reached`)."""

    def __init__(
        self, accounts: Accounts, views: Sequence[View], skipped: Callable[[str], Collection[int]] = lambda _: ()
    ) -> None:
        """`skipped`: by account, the offsets of its shard of `records` that an operator had skipped."""
        self._accounts = accounts
        self._skipped = skipped
        self._views = comparable(views)
        self._plan = Plan(views)
        self._decoder = Decoder(load(), self._plan.collections)
        self.audited = 0
        self.too_large = 0
        self.divergent = 0

    async def sample(self, store: Store, reached: Reached, count: int) -> list[Difference]:
        """Audit so many accounts taken at random; what differs is counted, logged and returned."""
        found: list[Difference] = []
        for did in await self._accounts.sample(count):
            found += await self.audit(did, store, reached)
        return found

    async def audit(self, did: str, store: Store, reached: Reached) -> list[Difference]:
        """What the views say of one account and the log does not, or the other way round (`left` is the log's)."""
        seen: list[Difference] | None = None
        seed = random.getrandbits(32)
        for _ in range(_ATTEMPTS):
            for shard, end in enumerate(await self._accounts.ends()):
                while not await reached(shard, end, _WAIT_SECONDS):
                    continue
            entries = await self._accounts.entries(did, ENTRIES_MOST)
            if entries is None:
                self.too_large += 1
                return []
            found = await self._compare(did, entries, store, seed)
            if not found:
                break
            if found == seen:
                self._report(did, found)
                break
            seen = found
        else:
            found = []  # it changes faster than it can be looked at; another day
        self.audited += 1
        return found

    def _report(self, did: str, found: list[Difference]) -> None:
        self.divergent += len(found)
        for each in found[:_LOGGED]:
            left, right = (None if row is None else shown(row) for row in (each.left, each.right))
            _log.error("views.divergent", account=did, view=each.view, key=shown(each.key), log=left, store=right)

    async def _compare(self, did: str, entries: Sequence[Derived], store: Store, seed: int) -> list[Difference]:
        batch = await self._recompute(entries, self._skipped(did))
        found: list[Difference] = []
        for view in self._views:
            table = view.table
            partitions = {
                partition: [row for row in rows.values() if row is not None]
                for partition, rows in batch.rows.get(table, {}).items()
            }
            found += await _rows(table, [row for rows in partitions.values() for row in rows], store)
            if table.source != RECORDS:
                continue
            own = dict.fromkeys(_own_partitions(table, did), ())
            if table.clustering:
                made = {partition: rows for partition, rows in partitions.items() if partition[0] == did}
                found += await _nothing_else(table, {**own, **made}, store)
            if table.statics:
                none = dict.fromkeys(own, (0,) * len(table.statics))
                found += await _statics(table, {**none, **batch.statics.get(table, {})}, store)
        subjects = sorted({*batch.rows.get(posts.TABLE, {}), *batch.rows.get(interactions.TABLE, {})})
        for subject in random.Random(seed).sample(subjects, min(SUBJECTS_MOST, len(subjects))):  # noqa: S311 - no secret
            found += await self._counted(interactions.TABLE, subject, 1, store)
        found += await self._followers(did, store)
        return found

    async def _recompute(self, entries: Sequence[Derived], skipped: Collection[int]) -> Batch:
        """What these entries make, and nothing else."""
        progress = Progress({}, {})
        stages = Stages(self._plan, self._decoder, _Nothing(), progress, shards=1, settings=FanoutSettings())
        stages.begin()
        await stages.feed(0, entries, skipped)
        return stages.finish()

    async def _counted(self, table: Table, partition: Key, kind_at: int, store: Store) -> list[Difference]:
        """One partition's rows by kind are what its statics count, and each row's record is live."""
        rows = await store.slice(table, partition, limit=MEMBERS_MOST + 1)
        if len(rows) > MEMBERS_MOST:
            return []
        counts = [0] * (len(table.statics) - 1)
        for row in rows:
            counts[row[kind_at]] += 1
        return await _count(table, partition, counts, store) + await self._live(table, rows)

    async def _followers(self, did: str, store: Store) -> list[Difference]:
        table, rows = followers.TABLE, []
        for bucket in range(followers.BUCKETS):
            rows += await store.slice(table, (did, bucket), limit=MEMBERS_MOST + 1)
        if len(rows) > MEMBERS_MOST:
            return []
        return await _count(table, (did, 0), [len(rows)], store) + await self._live(table, rows)

    async def _live(self, table: Table, rows: Sequence[Row]) -> list[Difference]:
        found, at = [], table.index("uri")
        for row in rows:
            did, _, path = row[at].removeprefix("at://").partition("/")
            if not await self._accounts.live(did, path):
                line = Lines(table).of_row(row)
                found.append(Difference(table.name, line.key, False, None, line.row))
        return found


async def _rows(table: Table, rows: Sequence[Row], store: Store) -> list[Difference]:
    lines, found = Lines(table), []
    stored = await store.get_many(table, [row[: table.key_size] for row in rows])
    for row, there in zip(rows, stored, strict=True):
        line, had = lines.of_row(row), None if there is None else lines.of_row(there)
        if line != had:
            found.append(Difference(table.name, line.key, False, line.row, None if had is None else had.row))
    return found


def _own_partitions(table: Table, did: str) -> list[Key]:
    """Those that an account may have rows in, whether its records make any or not; where they can be told."""
    first, *others = (column.name for column in table.partition)
    if first not in _ACCOUNT:
        return []
    if not others:
        return [(did,)]
    return [(did, value) for value in _SECOND.get(table, ())]


async def _nothing_else(table: Table, partitions: Mapping[Key, Sequence[Row]], store: Store) -> list[Difference]:
    lines, found = Lines(table), []
    for partition, rows in partitions.items():
        known = {row[: table.key_size] for row in rows}
        for row in await store.slice(table, partition, limit=len(rows) + _LOGGED):
            line = lines.of_row(row)
            if line.key not in known:
                found.append(Difference(table.name, line.key, False, None, line.row))
    return found


async def _statics(table: Table, expected: dict[Key, Row], store: Store) -> list[Difference]:
    found = []
    partitions = list(expected)
    for partition, there in zip(partitions, await store.statics(table, partitions), strict=True):
        found += _differing(table, partition, expected[partition], there)
    return found


async def _count(table: Table, partition: Key, counts: Sequence[int], store: Store) -> list[Difference]:
    (there,) = await store.statics(table, (partition,))
    return _differing(table, partition, (*counts, 0), there)


def _differing(table: Table, partition: Key, expected: Row, there: Row | None) -> list[Difference]:
    lines = Lines(table)
    left = lines.of_statics((*partition, *expected))
    right = None if there is None else lines.of_statics((*partition, *there))
    if left == right:
        return []
    return [
        Difference(
            table.name, partition, True, None if left is None else left.row, None if right is None else right.row
        )
    ]


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
