"""A store that dies or stalls under a writer: what was acknowledged is there, and the writer goes on by itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import cql_store
from tests.support.cql_store import versioned
from views.store import Batch
from views.store_scylla import StoreUnavailableError
from views.table import APPLIED, Table, integer, text

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

COUNTED = Table(
    "counted", "edges", partition=(text("k", ""),), clustering=(integer("at", ""),), statics=(integer("n", ""), APPLIED)
)
ROWS = 40


@pytest.fixture(scope="module")
def stack(own_stack):
    return own_stack(brokers=0, stores=1)


@pytest.fixture(scope="module")
def settings(stack):
    settings = cql_store.settings_of((stack.hosts[0], stack.port), timeout=2.0)
    cql_store.make(settings, (COUNTED,))
    return settings


def counted(at):
    """Every partition gets a row and counts it."""
    made = Batch({COUNTED: {}}, {COUNTED: {}}, {("edges", 0): at}, {})
    for n in range(ROWS):
        made.rows[COUNTED][f"k{n}",] = {(at,): (f"k{n}", at)}
        made.statics[COUNTED][f"k{n}",] = (at, at)
    return versioned(made, at)


class Writer:
    """Reads the count, adds one, writes: as a lane does."""

    def __init__(self, store):
        self.store = store
        self.acknowledged = 0
        self.stopping = False

    async def run(self):
        while not self.stopping:
            statics = await self.store.statics(COUNTED, [(f"k{n}",) for n in range(ROWS)])
            # Nothing may be seen of a batch that comes after the acknowledged one.
            assert statics == [(self.acknowledged, self.acknowledged) if self.acknowledged else None] * ROWS
            await self.store.apply(counted(self.acknowledged + 1))
            self.acknowledged += 1


async def _until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.02)


async def test_a_writer_outlives_a_store_that_is_killed_and_one_that_stalls(stack, settings):
    (node,) = stack.cql
    async with cql_store.opened(settings, (COUNTED,)) as store:
        writer = Writer(store)
        running = asyncio.create_task(writer.run())
        await _until(lambda: writer.acknowledged >= 20)
        for stop, start in ((node.kill, node.start), (node.pause, node.resume)):
            before = store.repeated
            await asyncio.to_thread(stop)
            await _until(lambda before=before: store.repeated > before)  # the fault has fired
            at = writer.acknowledged
            await asyncio.to_thread(start)
            await _until(lambda at=at: writer.acknowledged >= at + 20 or running.done())
        writer.stopping = True
        await running

        last = writer.acknowledged
        for n in range(ROWS):
            rows = await store.slice(COUNTED, (f"k{n}",), limit=10_000)
            assert [row[1] for row in rows] == list(range(1, last + 1))
        assert (await store.progress_of("edges", 0)).vector == {("edges", 0): last}


async def test_a_store_that_stays_away_is_told_to_whoever_asked(stack, settings):
    (node,) = stack.cql
    impatient = cql_store.replaced(settings, patience=1.0)
    async with cql_store.opened(impatient, (COUNTED,)) as store:
        await asyncio.to_thread(node.pause)
        try:
            with pytest.raises(StoreUnavailableError, match="did not acknowledge for"):
                await store.apply(counted(1))
            with pytest.raises(StoreUnavailableError):
                await store.get_many(COUNTED, [("k1", 1)])
        finally:
            await asyncio.to_thread(node.resume)
