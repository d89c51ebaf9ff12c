"""Keyspaces of generations on CQL: made by whoever comes first, and refused, with the cure, when they do not fit."""

from __future__ import annotations

import asyncio
import ssl

import msgspec
import pytest

from schemas.errors import InvariantError
from tests.support import cql_store
from views import migrations
from views.cql.driver import StoreUnavailableError
from views.cql.schema import LAYOUT
from views.cql.session import CqlSession
from views.cql.text import GC_GRACE_SECONDS
from views.generations import GenerationError
from views.store_scylla import ScyllaStore
from views.table import Table, integer, text

pytestmark = pytest.mark.cluster

SET = Table(
    "set", "fanout", partition=(text("did", ""),), clustering=(integer("offset", "", descending=True),),
    statics=(integer("n", ""),),
)  # fmt: skip
ROW = Table("row", "edges", partition=(text("did", ""), integer("filter", "")), columns=(text("bytes", ""),))
TABLES = (SET, ROW)


@pytest.fixture(scope="module")
def settings(cql_address):
    """A keyspace where generation g1 holds TABLES."""
    settings = cql_store.settings_of(cql_address)
    cql_store.make(settings, TABLES)
    yield settings
    cql_store.remove(settings, "g1", "g2")


@pytest.fixture
async def session(settings):
    session = await CqlSession.connect(settings)
    yield session
    await session.close()


async def test_many_that_create_at_once_all_find_one_generation(cql_address):
    settings = cql_store.settings_of(cql_address)
    try:
        stores = await asyncio.gather(*(ScyllaStore.open(settings, "g1", TABLES, create=True) for _ in range(4)))

        found = await asyncio.gather(*(store.slice(SET, ("x",), limit=1) for store in stores))
        assert found == [[]] * 4
        session = stores[0]._session
        steps = await session.admin(f"SELECT step FROM {settings.keyspace}.steps")
        assert sorted(steps) == [(n,) for n in range(1, len(migrations.STEPS) + 1)]
        assert await session.admin(f"SELECT name FROM {settings.keyspace}.locks") == []
        await asyncio.gather(*(store.close() for store in stores))
    finally:
        await cql_store.drop_all(settings, "g1")


async def test_tables_have_the_options_that_versions_need(settings, session):
    rows = await session.admin(
        "SELECT table_name, gc_grace_seconds, default_time_to_live, compaction FROM system_schema.tables"
        f" WHERE keyspace_name = '{settings.keyspace}_g1'"
    )

    assert {row[0] for row in rows} == {"set", "row", "progress"}
    assert {row[1:3] for row in rows} == {(GC_GRACE_SECONDS, 0)}
    assert not [row for row in rows if "TimeWindow" in row[3]["class"]]


async def test_a_lock_is_held_by_one_and_waited_for(settings, session):
    order = []

    async def take(name):
        async with migrations.locked(session, settings, "test"):
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(*(take(n) for n in range(4)))

    assert len(order) == 8
    assert all(one.replace("in", "out") == other for one, other in zip(order[::2], order[1::2], strict=True))


async def test_a_lock_whose_owner_died_is_not_for_ever(monkeypatch, settings, session):
    monkeypatch.setattr(migrations, "_PATIENCE", 5.0)
    await session.admin(
        f"INSERT INTO {settings.keyspace}.locks (name, owner) VALUES ('dead', 'gone') IF NOT EXISTS USING TTL 1"
    )
    async with migrations.locked(session, settings, "dead"):
        pass


async def test_a_lock_that_is_never_free_is_said_so(monkeypatch, settings, session):
    monkeypatch.setattr(migrations, "_PATIENCE", 0.3)
    async with migrations.locked(session, settings, "busy"):
        with pytest.raises(StoreUnavailableError, match="'busy'"):
            async with migrations.locked(session, settings, "busy"):
                pass


async def test_a_generation_that_is_not_there_is_refused_with_the_cure(settings):
    with pytest.raises(InvariantError, match="headrace views build g9"):
        await ScyllaStore.open(settings, "g9", TABLES, create=False)


async def test_a_keyspace_that_is_not_there_is_refused_with_the_cure(settings):
    elsewhere = msgspec.structs.replace(settings, keyspace="nobody_made_this")
    with pytest.raises(InvariantError, match=r"no generation g1 .keyspace nobody_made_this_g1"):
        await ScyllaStore.open(elsewhere, "g1", TABLES, create=False)


@pytest.mark.parametrize("create", [False, True])
async def test_another_shape_is_refused_with_the_cure(settings, create):
    with pytest.raises(InvariantError, match=r"another shape.*build a new generation"):
        await ScyllaStore.open(settings, "g1", TABLES[:1], create=create)


async def test_a_newer_layout_and_newer_steps_are_refused_with_the_cure(settings, session):
    declared = f"INSERT INTO {settings.keyspace}.declared (name, layout) VALUES ('{settings.keyspace}_g1', %s)"
    await session.admin(declared, (LAYOUT + 1,))
    with pytest.raises(InvariantError, match="start the newer release"):
        await ScyllaStore.open(settings, "g1", TABLES, create=False)
    await session.admin(declared, (LAYOUT,))
    await session.admin(f"INSERT INTO {settings.keyspace}.steps (step, about) VALUES (99, 'of tomorrow')")
    with pytest.raises(InvariantError, match="at step 99"):
        await ScyllaStore.open(settings, "g1", TABLES, create=True)
    await session.admin(f"DELETE FROM {settings.keyspace}.steps WHERE step = 99")
    async with cql_store.opened(settings, TABLES, create=True):
        pass


async def test_what_was_left_half_made_is_made_anew(settings, session):
    keyspace = f"{settings.keyspace}_g2"
    await migrations.create_keyspace(session, settings, keyspace)
    await session.admin(f'CREATE TABLE {keyspace}."row" (other text PRIMARY KEY)')

    async with cql_store.opened(settings, TABLES, create=True, generation="g2") as store:
        assert await store.get_many(ROW, [("x", 1)]) == [None]
    await ScyllaStore.drop(settings, "g2")
    await ScyllaStore.drop(settings, "g2")

    with pytest.raises(InvariantError, match="no generation g2"):
        await ScyllaStore.open(settings, "g2", TABLES, create=False)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"port": 1}, InvariantError, "no CQL store answers at 127.0.0.1 port 1"),
        ({"consistency": "MOST"}, InvariantError, "expected one of .*LOCAL_QUORUM"),
        ({"datacenter": "mars"}, InvariantError, "no datacenter 'mars', found datacenter1"),
        ({"keyspace": "Robert'); DROP"}, InvariantError, "expected a letter"),
        ({"ssl_ca": "/nowhere.pem"}, InvariantError, "expected a PEM file"),
        ({"epoch": 4_000}, InvariantError, "epoch 4000"),
    ],
)
async def test_a_setting_that_cannot_be_is_refused_with_the_cure(settings, change, error, said):
    with pytest.raises(error, match=said):
        await ScyllaStore.open(msgspec.structs.replace(settings, **change), "g1", TABLES, create=False)


async def test_a_name_that_is_none_is_refused(settings):
    with pytest.raises(GenerationError, match="no name of a generation"):
        await ScyllaStore.open(settings, "g1; DROP", TABLES, create=False)


async def test_tls_to_a_store_that_has_none_is_refused_with_the_cure(settings, tmp_path):
    authorities = tmp_path / "ca.pem"
    found = ssl.create_default_context().get_ca_certs(binary_form=True)
    authorities.write_text(ssl.DER_cert_to_PEM_cert(found[0]))
    secure = msgspec.structs.replace(settings, ssl_ca=str(authorities), timeout=2.0)

    with pytest.raises(InvariantError, match="whether it wants TLS"):
        await ScyllaStore.open(secure, "g1", TABLES, create=False)
