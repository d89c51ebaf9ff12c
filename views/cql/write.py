"""The statements of a batch: each key at its own entry's version, each partition one mutation.

Large partitions are cut: rows alone anywhere, rows beside statics only beyond `_WHOLE_BYTES`, and then in the order
that `views.cql.order` says. Small mutations that the same nodes hold share a request: it may be torn between them, as
requests of their own may. Nothing is sent from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

from schemas.errors import InvariantError
from views.cql.order import Partitions, statics_first
from views.cql.progress import Lane, reach_row
from views.cql.schema import PROGRESS
from views.store import Batch
from views.table import Key, Row, Table
from views.versions import DELETE, PUT, version

# A mutation may be half a commit log segment (16 MiB by default); small ones share a store's threads better.
_PART_BYTES: Final = 256 * 1024
_PART_ROWS: Final = 200
_WHOLE_BYTES: Final = 4 * 1024 * 1024

# Cassandra warns of a batch of several partitions beyond 5 KiB or 10 of them, and refuses one beyond 50 KiB.
_SHARED_BYTES: Final = 4 * 1024
_SHARED: Final = 10

_AT_ONCE: Final = 63  # partitions whose statements are made in one turn of the loop

Prepare = Callable[[Table, str], Awaitable[Any]]
Statements = list[Any]
Mutations = list[tuple[int, list[Any]]]
"""Bytes, and what is written of one partition."""


class Writer:
    """`prepare` gives a table's statement by its name in `views.cql.text`; `batch` makes one request of several.

    `home` tells where a statement's partition is; None: not known.
    """

    def __init__(
        self,
        epoch: int,
        prepare: Prepare,
        batch: Callable[[Sequence[Any]], Any],
        home: Callable[[Any], Hashable],
    ) -> None:
        self._epoch = epoch
        self._prepare = prepare
        self._batch = batch
        self._home = home

    async def statements(self, partitions: Partitions, batch: Batch) -> tuple[Statements, Statements]:
        """Two lists: the second may only be sent when all of the first is acknowledged."""
        first: Mutations = []
        last: Mutations = []
        for place, (table, partition, rows, statics) in enumerate(partitions):
            if place & _AT_ONCE == _AT_ONCE:
                await asyncio.sleep(0)
            versions = _versions(table, partition, batch)
            puts, deletes = await self._rows(table, partition, rows, versions)
            if statics is None:
                first += _parts(deletes + puts)
                continue
            own = (_size(statics), await self._statics(table, partition, statics, batch))
            whole = sum(size for size, _ in (*puts, *deletes))
            if whole <= _WHOLE_BYTES:
                first.append((own[0] + whole, [own[1], *(bound for _, bound in (*deletes, *puts))]))
            elif statics_first(table):
                first.append((own[0], [own[1]]))
                last += _parts(deletes + puts)
            else:
                first += _parts(puts)
                last.append((whole, [own[1], *(bound for _, bound in deletes)]))
        return self._requests(first), self._requests(last)

    def _requests(self, mutations: Mutations) -> Statements:
        """In no order: those that go out together are acknowledged in none."""
        requests: Statements = []
        shared: dict[Hashable, tuple[list[int], list[Any]]] = {}
        for size, bound in mutations:
            home = None if size > _SHARED_BYTES // 2 else self._home(bound[0])
            if home is None:
                requests.append(self._batch(bound))
                continue
            sizes, held = shared.get(home, ([], []))
            if len(sizes) == _SHARED or sum(sizes) + size > _SHARED_BYTES:
                requests.append(self._batch(held))
                sizes, held = [], []
            sizes.append(size)
            held += bound
            shared[home] = (sizes, held)
        return requests + [self._batch(held) for _, held in shared.values()]

    async def progress(self, lanes: Mapping[Lane, tuple[int | None, int, Mapping[Key, Row]]]) -> Statements:
        found: Statements = []
        for lane, (position, offset, rows) in lanes.items():
            at = version(self._epoch, offset, PUT)
            put = await self._prepare(PROGRESS, "put")
            own = [put.bind((*row, at)) for row in rows.values()]
            if position is not None:
                own.append((await self._prepare(PROGRESS, "put_statics")).bind((*lane, position, at)))
            found.append(self._batch(own))
        return found

    async def reach(self, topic: str, shard: int, offset: int) -> Any:
        put = await self._prepare(PROGRESS, "put")
        return put.bind((*reach_row(topic, shard, offset), version(self._epoch, offset, PUT)))

    async def _rows(
        self, table: Table, partition: Key, rows: Mapping[Key, Row | None], versions: Mapping[Key, int]
    ) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
        if not rows:
            return [], []
        put = (await self._prepare(table, "put")).bind
        delete = (await self._prepare(table, "delete")).bind
        width = len(table.all_columns)
        puts, deletes = [], []
        for key, row in rows.items():
            offset = versions.get(key)
            if offset is None:
                raise InvariantError(f"{table.name}: a batch without the version of {(*partition, *key)!r}")
            if row is None:
                named = (*partition, *key)
                deletes.append((_size(named), delete((version(self._epoch, offset, DELETE), *named))))
            else:
                if len(row) != width:
                    raise InvariantError(f"{table.name}: a row of {len(row)} columns, expected {width}")
                puts.append((_size(row), put((*row, version(self._epoch, offset, PUT)))))
        return puts, deletes

    async def _statics(self, table: Table, partition: Key, statics: Row, batch: Batch) -> Any:
        if len(statics) != len(table.statics):
            raise InvariantError(f"{table.name}: {len(statics)} static columns, expected {len(table.statics)}")
        if batch.static_versions is None:
            raise _unversioned()
        offset = batch.static_versions.get(table, {}).get(partition)
        if offset is None:
            raise InvariantError(f"{table.name}: a batch without the version of the statics of {partition!r}")
        return (await self._prepare(table, "put_statics")).bind(
            (*partition, *statics, version(self._epoch, offset, PUT))
        )


def _parts(sized: Iterable[tuple[int, Any]]) -> Mutations:
    parts: Mutations = []
    part: list[Any] = []
    held = 0
    for size, bound in sized:
        if part and (held + size > _PART_BYTES or len(part) >= _PART_ROWS):
            parts.append((held, part))
            part, held = [], 0
        part.append(bound)
        held += size
    if part:
        parts.append((held, part))
    return parts


def _versions(table: Table, partition: Key, batch: Batch) -> Mapping[Key, int]:
    if batch.versions is None:
        raise _unversioned()
    of_table = batch.versions.get(table)
    return {} if of_table is None else of_table.get(partition, {})


def _unversioned() -> InvariantError:
    return InvariantError(
        "a batch without versions: expected the offset of the entry that last touched each key; a store whose batches"
        " may be torn would bring back what a later entry deleted: make the batch in a lane (processors.lanes.lane)"
    )


def _size(values: Iterable[Any]) -> int:
    """About what it takes in a mutation. HOT."""
    size = 48
    for value in values:
        size += 8 if value is None or isinstance(value, int) else len(value)
    return size
