"""In which order a CQL store is asked: a wave when the one before is acknowledged, progress last. No store runs."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.cql_store import versioned
from views import likes_by_actor, posts, recent_by_author, records
from views.cql import write as cql_write
from views.cql.settings import CqlSettings
from views.store import Batch
from views.store_scylla import ScyllaStore
from views.versions import PUT, version

SETTINGS = CqlSettings(hosts=("nowhere",), keyspace="k")


class Prepared:
    def __init__(self, text):
        self.text = text

    def bind(self, values):
        return (self.text, tuple(values))


class Session:
    """Notes what is asked, and answers when it is let."""

    repeated = 0

    def __init__(self, homes=lambda _: None):
        self.asked = []
        self.requests = []
        self.homes = homes
        self.out = 0
        self.fails_at = None

    async def prepare(self, text, *, page_size=None):  # noqa: ARG002 - the port's
        return Prepared(text)

    @staticmethod
    def batch(statements):
        return tuple(statements)

    def home(self, statement):
        return self.homes(statement)

    async def run(self, statements):
        assert self.out == 0, "asked before what came before was acknowledged"
        if statements:
            self.asked.append([each for batch in statements for each in batch])
            self.requests.append(list(statements))
            if self.fails_at == len(self.asked):
                raise ConnectionError
        self.out += 1
        await asyncio.sleep(0)
        self.out -= 1
        return [[] for _ in statements]


def batch():
    """A row that decides nothing, one that decides, one of `records`; a position."""
    made = Batch(rows={}, statics={}, vector={("records", 0): 9}, marks={})
    for table in (records.TABLE, likes_by_actor.TABLE, posts.TABLE):
        partition, key = ("x",) * table.partition_size, (1,) * len(table.clustering)
        made.rows[table] = {partition: {key: (*partition, *key, *(1 for _ in table.columns))}}
    return versioned(made, 7)


def tables_of(asked):
    return [{text.split()[2].rpartition(".")[2].strip('"') for text, _ in wave} for wave in asked]


async def test_rows_come_before_what_decides_before_images_after_both_and_progress_last():
    session = Session()

    await ScyllaStore(session, SETTINGS, "g1").apply(batch())

    assert tables_of(session.asked) == [{"posts"}, {"likes_by_actor"}, {"records"}, {"progress"}]


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_nothing_is_asked_behind_what_was_not_acknowledged(at):
    session = Session()
    session.fails_at = at

    with pytest.raises(ConnectionError):
        await ScyllaStore(session, SETTINGS, "g1").apply(batch())

    assert len(session.asked) == at


async def test_every_statement_has_its_entry_s_version_and_progress_its_position_s():
    session = Session()

    await ScyllaStore(session, SETTINGS, "g1").apply(batch())

    versions = [{value for _, values in wave for value in values[-1:]} for wave in session.asked]
    assert versions == [{version(0, 7, PUT)}] * 3 + [{version(0, 9, PUT)}]


async def test_of_a_partition_too_large_for_one_mutation_the_second_part_waits_for_the_first(monkeypatch):
    monkeypatch.setattr(cql_write, "_WHOLE_BYTES", 0)
    session, table = Session(), recent_by_author.TABLE
    made = batch()
    made.rows = {table: {("x",): {(1,) * len(table.clustering): ("x", *(1 for _ in table.all_columns[1:]))}}}
    made.statics = {table: {("x",): (1,) * len(table.statics)}}

    await ScyllaStore(session, SETTINGS, "g1").apply(versioned(made, 7))

    assert tables_of(session.asked) == [{"recent_by_author"}, {"recent_by_author"}, {"progress"}]
