"""A CQL store for tests: keyspaces of a test's own, and batches that bring no versions given some."""

from __future__ import annotations

import asyncio
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import msgspec

from views.cql.session import CqlSession
from views.cql.settings import CqlSettings
from views.store_scylla import ScyllaStore

GENERATION = "g1"


DRIVER = "HEADRACE_TEST_CQL_DRIVER"
"""What carries rows in the tests of a process; acsylla leaves sockets behind, so it has processes of its own."""


def driver():
    return os.environ.get(DRIVER, "scylla-driver")


def settings_of(address, **changes):
    """Settings of a keyspace that no other test has; names the address (host, port)."""
    host, port = address
    made = CqlSettings(
        hosts=(host,),
        port=port,
        keyspace="t" + secrets.token_hex(5),
        consistency="LOCAL_ONE",
        driver=driver(),
    )
    return replaced(made, **changes)


def replaced(settings, **changes):
    return msgspec.structs.replace(settings, **changes)


async def drop_all(settings, *generations):
    """Whatever the test made: the generations and what is beside them."""
    session = await CqlSession.connect(settings)
    for each in generations:
        await session.admin(f"DROP KEYSPACE IF EXISTS {settings.keyspace}_{each}")
    await session.admin(f"DROP KEYSPACE IF EXISTS {settings.keyspace}")
    await session.close()


async def truncate(store, tables):
    session = await CqlSession.connect(store._settings)
    for table in tables:
        await session.admin(f'TRUNCATE {store.keyspace}."{table.name}"')
    await session.admin(f"TRUNCATE {store.keyspace}.progress")
    await session.close()


@asynccontextmanager
async def opened(settings, tables, *, create=False, generation=GENERATION):
    store = await ScyllaStore.open(settings, generation, tables, create=create)
    try:
        yield store
    finally:
        await store.close()


def versioned(batch, offset):
    """The batch as if one entry, at `offset`, had touched all of its keys."""
    return msgspec.structs.replace(
        batch,
        versions={
            table: {partition: dict.fromkeys(rows, offset) for partition, rows in partitions.items()}
            for table, partitions in batch.rows.items()
        },
        static_versions={table: dict.fromkeys(partitions, offset) for table, partitions in batch.statics.items()},
    )


class Versioned:
    """The port over a CQL store for batches without versions: each is newer than the one before."""

    def __init__(self, store):
        self._store = store
        self._offset = 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def apply(self, batch):
        self._offset += 1
        await self._store.apply(versioned(batch, self._offset))


def make(settings, tables, generation=GENERATION):
    """The tables, from a fixture that is no coroutine."""

    async def create():
        async with opened(settings, tables, create=True, generation=generation):
            pass

    _aside(create())


def remove(settings, *generations):
    _aside(drop_all(settings, *(generations or (GENERATION,))))


def _aside(coroutine):
    """On a loop of another thread: this one's may be running."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()
