"""`views.cql.order` and `views.cql.write`: what is acknowledged before what, without a store."""

from __future__ import annotations

import pytest

import views
from schemas.errors import InvariantError
from tests.support.cql_store import versioned
from views import followers, handles, heads, likes_by_actor, operations, recent_by_author, records, timelines
from views.cql import write as cql_write
from views.cql.order import DECIDING, waves
from views.cql.write import Writer
from views.store import Batch

PARTITION = {table.name: ("x",) * table.partition_size for table in (view.table for view in views.ALL)}


def batch(rows=(), statics=()):
    made = Batch(rows={}, statics={}, vector={}, marks={})
    for table in rows:
        key = (1,) * len(table.clustering)
        row = (*PARTITION[table.name], *key, *(1 for _ in table.columns))
        made.rows[table] = {PARTITION[table.name]: {key: row}}
    for table in statics:
        made.statics[table] = {PARTITION[table.name]: (1,) * len(table.statics)}
    return versioned(made, 7)


def tables_of(wave):
    return {table for table, *_ in wave}


def test_records_are_last_and_what_decides_messages_comes_after_what_decides_nothing():
    every = [view.table for view in views.ALL]

    first, second, third = waves(batch(every, [table for table in every if table.statics]))

    assert tables_of(third) == {records.TABLE, operations.TABLE}
    assert tables_of(second) == DECIDING
    assert tables_of(first) == {*every} - DECIDING - {records.TABLE, operations.TABLE}
    assert {likes_by_actor.TABLE, followers.TABLE, recent_by_author.TABLE} < DECIDING
    assert heads.TABLE not in DECIDING
    assert handles.TABLE not in DECIDING


def test_members_of_other_buckets_come_before_the_count_that_says_they_are_in():
    made = batch([followers.TABLE])
    made.statics[followers.TABLE] = {("x", 0): (1, 7)}

    first, second, _ = waves(made)

    assert [(table, partition) for table, partition, *_ in first] == [(followers.TABLE, ("x", "x"))]
    assert [(table, partition) for table, partition, *_ in second] == [(followers.TABLE, ("x", 0))]


class Bound:
    def __init__(self, table, what):
        self.table, self.what = table, what

    def bind(self, values):
        return (self.table.name, self.what, values)


def writer(home=lambda _: None):
    async def prepare(table, what):
        return Bound(table, what)

    return Writer(0, prepare, lambda statements: tuple(statement[1] for statement in statements), home)


async def test_a_partition_with_a_count_is_one_mutation():
    made = batch([recent_by_author.TABLE], [recent_by_author.TABLE])

    first, last = await writer().statements(waves(made)[1], made)

    assert first == [("put_statics", "put")]
    assert last == []


@pytest.mark.parametrize(
    ("table", "first", "last"),
    [
        (recent_by_author.TABLE, [("put",)], [("put_statics", "delete")]),
        (timelines.TABLE, [("put_statics",)], [("delete", "put")]),
    ],
)
async def test_one_too_large_is_cut_so_that_a_redo_mends_it(monkeypatch, table, first, last):
    monkeypatch.setattr(cql_write, "_WHOLE_BYTES", 10)
    made = batch([table], [table])
    partition = PARTITION[table.name]
    made.rows[table][partition][(2,) * len(table.clustering)] = None
    made = versioned(made, 7)

    (part,) = [wave for wave in waves(made) if wave]
    sent, held = await writer().statements(part, made)

    assert sent == first
    assert held == last


def of_accounts(number, size=1):
    """A row each, of `size` bytes at least."""
    made = batch()
    made.rows[heads.TABLE] = {(f"{n}",): {(): (f"{n}", "r" * size, 1)} for n in range(number)}
    return versioned(made, 7)


@pytest.mark.parametrize(
    ("number", "size", "homes", "requests"),
    [
        (25, 1, 1, [10, 10, 5]),  # a store warns of more than ten partitions
        (25, 1, 2, [10, 10, 3, 2]),
        (4, 1_500, 1, [2, 2]),  # and of more than 5 KiB
        (3, 3_000, 1, [1, 1, 1]),
    ],
)
async def test_small_mutations_that_the_same_nodes_hold_share_a_request(number, size, homes, requests):
    made = of_accounts(number, size)

    first, last = await writer(lambda bound: int(bound[2][0]) % homes + 1).statements(waves(made)[0], made)

    assert sorted(map(len, first), reverse=True) == requests
    assert last == []


async def test_where_partitions_are_is_not_known_each_is_a_request_of_its_own():
    made = of_accounts(12)

    first, _ = await writer().statements(waves(made)[0], made)

    assert [*map(len, first)] == [1] * 12


async def test_a_batch_without_versions_is_refused():
    made = batch([heads.TABLE])
    made.versions = None

    with pytest.raises(InvariantError, match="without versions"):
        await writer().statements(waves(made)[0], made)


async def test_a_key_without_a_version_is_named():
    made = batch([heads.TABLE])
    made.versions = {heads.TABLE: {}}

    with pytest.raises(InvariantError, match=r"heads: a batch without the version of \('x',\)"):
        await writer().statements(waves(made)[0], made)


async def test_a_delete_is_written_below_a_put_of_the_same_entry():
    made = batch([heads.TABLE])
    seen = []

    async def prepare(table, what):
        return Bound(table, what)

    capture = Writer(0, prepare, seen.append, lambda _: None)
    await capture.statements(waves(made)[0], made)
    made.rows[heads.TABLE][PARTITION["heads"]][()] = None
    await capture.statements(waves(made)[0], made)

    (put,), (delete,) = seen
    assert put[2][-1] == 7 << 4 | 1
    assert delete[2][0] == 7 << 4
