"""Views on a CQL store, for tests that come one after the other in one keyspace: what one wrote is gone behind it.

Each test has an epoch of its own, so that its rows win over the deletions behind the test before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support import cql_store
from views import ALL
from views.cql.text import equal, named
from views.store import Batch, Progress
from views.store_scylla import ScyllaStore
from views.versions import EPOCH_MAX, PUT, version

TABLES = tuple(view.table for view in ALL)


class TestsStore(cql_store.Versioned):
    """One test's: it begins with nothing, and knows which partitions it has written."""

    __test__ = False

    def __init__(self, store: ScyllaStore) -> None:
        super().__init__(store)
        self.written: dict = {}

    async def progress(self) -> Progress:
        return Progress({}, {}, {})

    async def apply(self, batch: Batch) -> None:
        for written in (batch.rows, batch.statics):
            for table, partitions in written.items():
                self.written.setdefault(table, set()).update(partitions)
        await super().apply(batch)

    async def leave(self, epoch: int) -> None:
        session, end = self._store._session, version(epoch + 1, 0, PUT) - 1
        for table, partitions in self.written.items():
            gone = f"DELETE FROM {named(self._store.keyspace, table)} USING TIMESTAMP ? WHERE {equal(table.partition)}"
            statement = await session.prepare(gone)
            await session.run([statement.bind((end, *partition)) for partition in partitions])


class Keyspace:
    def __init__(self, settings) -> None:
        self.settings = settings
        self.epochs = iter(range(EPOCH_MAX))

    @asynccontextmanager
    async def store(self) -> AsyncIterator[TestsStore]:
        epoch = next(self.epochs)
        async with cql_store.opened(cql_store.replaced(self.settings, epoch=epoch), TABLES) as opened:
            made = TestsStore(opened)
            yield made
            await made.leave(epoch)


@pytest.fixture(scope="session")
def views_keyspace(cql_address):
    """A keyspace of this session's, with every view in it."""
    settings = cql_store.settings_of(cql_address)
    cql_store.make(settings, TABLES)
    yield Keyspace(settings)
    cql_store.remove(settings)


__all__ = ["TABLES", "Keyspace", "views_keyspace"]
