"""The auditor: takes accounts at random and holds what the live views say of them against the log.

What an account's own records make is computed anew, alone, over a store that holds nothing; then
1. every row it makes is in the views as computed, also under others' subjects;
2. the partitions of its own hold no other row, also where it makes none, and their counts are the computed ones;
3. under a few of the subjects it touches, and among the followers of itself and of a few whom it follows, the counts
   are the number of rows, and each row's record is live.
So a row lost, left over or changed is found from the side of whoever made it, a count from the side of its subject.
Not covered: tables that depend on order between shards (`processors.digest.ORDER_DEPENDENT`), accounts and subjects
above the bounds below, and rows and counts that nothing in the log leads to: of a subject that the log does not hold
and that nobody likes, reposts, answers, quotes or follows any more.

A difference counts when it is the same twice, the views having passed in between all that the first rested on, and
nothing having changed meanwhile that could make it come and go: neither the account's entries, nor a counted
partition's `applied`. Does not own when audits are made, nor how an account is found in the log (`Accounts`).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import structlog

from processors.audit_expected import Expected
from processors.digest import Lines, comparable
from processors.rebuild.builds import shown
from processors.rebuild.diff import Difference
from schemas.entries import Derived
from schemas.operations import Operation
from schemas.topics import OPERATIONS, RECORDS
from views import author_feed, followers, interactions, likes_by_actor, posts, reposts_by_actor
from views.store import Reads
from views.table import Key, Row, Table
from views.view import View

ENTRIES_MOST: Final = 5_000  # entries of one account
SUBJECTS_MOST: Final = 8  # subjects whose interactions are counted
FOLLOWED_MOST: Final = 3  # accounts that it follows whose followers are counted
MEMBERS_MOST: Final = 2_000  # rows of one partition that are counted
Reached = Callable[..., Awaitable[bool]]
"""(shard, offset, seconds), of `records`; with `OPERATIONS` behind them of that."""
Spend = Callable[[int], Awaitable[None]]
_T = TypeVar("_T", bound=Any)

_ATTEMPTS: Final = 6
_AT_ONCE: Final = 100  # rows asked for in one call
_WAIT_SECONDS: Final = 60.0
_LOGGED: Final = 20
_ACCOUNT: Final = frozenset({"did", "actor"})  # names of columns that say whose partition it is
_SECOND: Final[Mapping[Table, Iterable[object]]] = {
    author_feed.TABLE: range(author_feed.POSTS_WITH_VIDEO + 1),
    likes_by_actor.TABLE: range(likes_by_actor.BUCKETS),
    reposts_by_actor.TABLE: range(reposts_by_actor.BUCKETS),
}

_log = structlog.get_logger(__name__)


class Accounts(Protocol):
    """The log, account by account."""

    @property
    def topics(self) -> Collection[str]:
        """What is known of it: `records`, and where views of them are to be audited too, `operations`."""
        ...

    async def sample(self, count: int) -> list[str]:
        """At most `count` accounts at random; none when there are none."""
        ...

    async def entries(self, did: str, limit: int) -> list[Derived] | None:
        """The newest entry of each key that is there, in order of offset; None when there are more than `limit`."""
        ...

    async def operations(self, did: str, limit: int) -> list[Operation] | None:
        """The newest operation of each key that is there, in order of offset; None when there are more than `limit`."""
        ...

    async def operations_ends(self) -> list[int]:
        """As `ends`, of `operations`."""
        ...

    async def ends(self) -> list[int]:
        """By shard, the newest entry of `records` that the other answers may rest on."""
        ...

    async def live(self, records: Sequence[tuple[str, str]]) -> list[bool]:
        """Of each (DID, "collection/rkey"), whether there is a record; in the order asked."""
        ...


class _Found(NamedTuple):
    """A difference, and what must be as it was for a second look to be of the same moment of the log."""

    difference: Difference
    as_of: object


async def _nothing_to_spend(_number: int) -> None: ...


class Auditor:
    """`audited` accounts and `divergent` rows, ever. `reached` waits for the views (`EmbeddedRunner.reached`)."""

    def __init__(
        self,
        accounts: Accounts,
        views: Sequence[View],
        skipped: Callable[[str, str], Collection[int]] = lambda _did, _topic: (),
        spend: Spend = _nothing_to_spend,
    ) -> None:
        """`skipped`: by account and topic, the offsets of its shard that an operator had skipped.

        `spend` is told of every row before it is asked for, and waits where that is too many.
        """
        self._accounts = accounts
        self._skipped = skipped
        self._spend = spend
        self._views = comparable(views)
        self._expected = Expected(views)
        self.audited = 0
        self.too_large = 0
        self.divergent = 0

    async def sample(self, store: Reads, reached: Reached, count: int) -> list[Difference]:
        """Audit so many accounts taken at random; what differs is counted, logged and returned."""
        found: list[Difference] = []
        for did in await self._accounts.sample(count):
            found += await self.audit(did, store, reached)
        return found

    async def audit(self, did: str, store: Reads, reached: Reached) -> list[Difference]:
        """What the views say of one account and the log does not, or the other way round (`left` is the log's)."""
        seen: list[_Found] = []
        standing: list[Difference] = []
        seed = random.getrandbits(32)
        for _ in range(_ATTEMPTS):
            for shard, end in enumerate(await self._accounts.ends()):
                while not await reached(shard, end, _WAIT_SECONDS):
                    continue
            operated = OPERATIONS in self._accounts.topics
            for shard, end in enumerate(await self._accounts.operations_ends() if operated else ()):
                while not await reached(shard, end, _WAIT_SECONDS, OPERATIONS):
                    continue
            looked = await self._look(did)
            if looked is None:
                self.too_large += 1
                return []
            found = await self._compare(did, *looked, store, seed)
            if not found:
                break
            # What was written while the views were looked at is in them already, and not in `entries`.
            latest, then = await self._look(did), _places(*looked)
            if latest is None or _places(*latest) != then:
                found = [each for each in found if each.as_of != then]
            standing = [each.difference for each in found if each in seen]
            if standing:
                self._report(did, standing)
                break
            seen = found
        self.audited += 1
        return standing  # none of what changes faster than it can be looked at: another day

    async def _look(self, did: str) -> tuple[list[Derived], list[Operation]] | None:
        """What the log says of an account now; None when that is too much."""
        entries = await self._accounts.entries(did, ENTRIES_MOST)
        operated = OPERATIONS in self._accounts.topics
        operations = await self._accounts.operations(did, ENTRIES_MOST) if operated else []
        return None if entries is None or operations is None else (entries, operations)

    def _report(self, did: str, found: list[Difference]) -> None:
        self.divergent += len(found)
        for each in found[:_LOGGED]:
            left, right = (None if row is None else shown(row) for row in (each.left, each.right))
            _log.error("views.divergent", account=did, view=each.view, key=shown(each.key), log=left, store=right)

    async def _compare(
        self, did: str, entries: Sequence[Derived], operations: Sequence[Operation], store: Reads, seed: int
    ) -> list[_Found]:
        skipped = {topic: self._skipped(did, topic) for topic in self._accounts.topics}
        batch = await self._expected.of(entries, skipped[RECORDS], operations, skipped.get(OPERATIONS, ()))
        own_rows: list[Difference] = []
        for view in self._views:
            table = view.table
            if table.source == OPERATIONS and OPERATIONS not in skipped:
                continue
            partitions = {
                partition: [row for row in rows.values() if row is not None]
                for partition, rows in batch.rows.get(table, {}).items()
            }
            own_rows += await self._rows(table, [row for rows in partitions.values() for row in rows], store)
            if table.source not in skipped:
                continue
            own = dict.fromkeys(_own_partitions(table, did), ())
            if table.clustering:
                made = {partition: rows for partition, rows in partitions.items() if partition[0] == did}
                own_rows += await self._nothing_else(table, {**own, **made}, store)
            if table.statics:
                none = dict.fromkeys(own, (0,) * len(table.statics))
                own_rows += await self._statics(table, {**none, **batch.statics.get(table, {})}, store)
        places = _places(entries, operations)
        found = [_Found(each, places) for each in own_rows]
        dice = random.Random(seed)  # noqa: S311 - no secret
        touched = {*batch.rows.get(posts.TABLE, {}), *batch.rows.get(interactions.TABLE, {})}
        for subject in _some(touched, SUBJECTS_MOST, dice):
            found += await self._counted(interactions.TABLE, subject, [subject], 1, store)
        followed = {partition[0] for partition in batch.rows.get(followers.TABLE, {})} - {did}
        for each in (did, *_some(followed, FOLLOWED_MOST, dice)):
            buckets = [(each, bucket) for bucket in range(followers.BUCKETS)]
            found += await self._counted(followers.TABLE, buckets[0], buckets, None, store)
        return found

    async def _rows(self, table: Table, rows: Sequence[Row], store: Reads) -> list[Difference]:
        """Each is there as computed."""
        lines, found = Lines(table), []
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            await self._spend(len(some))
            stored = await store.get_many(table, [row[: table.key_size] for row in some])
            for row, there in zip(some, stored, strict=True):
                line, had = lines.of_row(row), None if there is None else lines.of_row(there)
                if line != had:
                    found.append(Difference(table.name, line.key, False, line.row, None if had is None else had.row))
        return found

    async def _nothing_else(
        self, table: Table, partitions: Mapping[Key, Sequence[Row]], store: Reads
    ) -> list[Difference]:
        lines, found = Lines(table), []
        for partition, rows in partitions.items():
            known = {row[: table.key_size] for row in rows}
            await self._spend(len(rows) + 1)
            for row in await store.slice(table, partition, limit=len(rows) + _LOGGED):
                line = lines.of_row(row)
                if line.key not in known:
                    found.append(Difference(table.name, line.key, False, None, line.row))
        return found

    async def _statics(self, table: Table, expected: dict[Key, Row], store: Reads) -> list[Difference]:
        found, partitions = [], list(expected)
        for start in range(0, len(partitions), _AT_ONCE):
            some = partitions[start : start + _AT_ONCE]
            await self._spend(len(some))
            for partition, there in zip(some, await store.statics(table, some), strict=True):
                found += _differing(table, partition, expected[partition], there)
        return found

    async def _counted(
        self, table: Table, counted: Key, partitions: Sequence[Key], kind_at: int | None, store: Reads
    ) -> list[_Found]:
        """The rows (by kind) are what the statics of `counted` say, and each row's record is live.

        Every change of a set changes its statics: while they are the same before and behind, the rows belong to them.
        """
        (before,) = await store.statics(table, (counted,))
        rows: list[Row] = []
        for partition in partitions:
            some = await store.slice(table, partition, limit=MEMBERS_MOST + 1)
            await self._spend(len(some) + 1)
            rows += some
            if len(rows) > MEMBERS_MOST:
                return []
        counts = [0] * (len(table.statics) - 1)
        for row in rows:
            counts[0 if kind_at is None else row[kind_at]] += 1
        found = _differing(table, counted, (*counts, 0), before) + await self._live(table, rows)
        (behind,) = await store.statics(table, (counted,))
        return [_Found(each, (counted, before)) for each in found] if behind == before else []

    async def _live(self, table: Table, rows: Sequence[Row]) -> list[Difference]:
        lines, found, at = Lines(table), [], table.index("uri")
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            await self._spend(len(some))
            live = await self._accounts.live([_record(row[at]) for row in some])
            for row, there in zip(some, live, strict=True):
                if not there:
                    line = lines.of_row(row)
                    found.append(Difference(table.name, line.key, False, None, line.row))
        return found


def _some(things: Collection[_T], most: int, dice: random.Random) -> list[_T]:
    """The same ones of the same things, while the dice are."""
    ordered = sorted(things)
    return dice.sample(ordered, min(most, len(ordered)))


def _places(entries: Sequence[Derived], operations: Sequence[Operation]) -> tuple[tuple[int, ...], ...]:
    """As of which moment of its log an account is: no entry comes or goes without another number here."""
    return tuple(entry.offset for entry in entries), tuple(each.offset for each in operations)


def _record(uri: str) -> tuple[str, str]:
    did, _, path = uri.removeprefix("at://").partition("/")
    return did, path


def _own_partitions(table: Table, did: str) -> list[Key]:
    """Those that an account may have rows in, whether its records make any or not; where they can be told."""
    first, *others = (column.name for column in table.partition)
    if first not in _ACCOUNT:
        return []
    if not others:
        return [(did,)]
    return [(did, value) for value in _SECOND.get(table, ())]


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
