"""What a session to the store outlives, and what it does not: changed tables, hosts that are none, its own end."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import cql_store
from tests.support.cql_store import versioned
from views.cql.session import CqlSession
from views.store import Batch
from views.store_scylla import StoreUnavailableError
from views.table import Table, integer, text

pytestmark = pytest.mark.cluster

KEPT = Table("kept", "records", partition=(text("k", ""),), columns=(integer("n", ""),))
MANY = 600


@pytest.fixture(scope="module")
def settings(cql_address):
    settings = cql_store.settings_of(cql_address)
    cql_store.make(settings, (KEPT,))
    yield settings
    cql_store.remove(settings)


def batch(at, keys):
    return versioned(Batch({KEPT: {(key,): {(): (key, at)} for key in keys}}, {}, {("records", 0): at}, {}), at)


async def test_statements_are_prepared_again_when_a_table_has_changed(settings):
    async with cql_store.opened(settings, (KEPT,)) as store:
        await store.apply(batch(1, "ab"))
        assert await store.get_many(KEPT, [("a",)]) == [("a", 1)]
        session = await CqlSession.connect(settings)
        await session.admin(f'ALTER TABLE {store.keyspace}."{KEPT.name}" ADD later bigint')
        await session.close()

        await store.apply(batch(2, "a"))

        assert await store.get_many(KEPT, [("a",), ("b",)]) == [("a", 2), ("b", 1)]
        assert sorted([row async for row in store.scan(KEPT)]) == [("a", 2), ("b", 1)]


async def test_one_contact_point_that_answers_is_enough(settings):
    several = cql_store.replaced(settings, hosts=("127.0.77.1", *settings.hosts), patience=5.0)
    async with cql_store.opened(several, (KEPT,)) as store:
        await store.apply(batch(3, "c"))

        assert await store.get_many(KEPT, [("c",)]) == [("c", 3)]


async def test_a_session_that_is_closed_while_statements_are_out_ends_what_waits(settings):
    """It was acknowledged, or it is said that it was not; nobody waits for ever."""
    async with cql_store.opened(settings, (KEPT,)) as store:
        await store.apply(batch(4, "d"))
        writing = asyncio.create_task(store.apply(batch(5, [f"d{n}" for n in range(MANY)])))
        for _ in range(50):
            await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await asyncio.wait([writing])

    assert writing.exception() is None or isinstance(writing.exception(), StoreUnavailableError)
