"""A store that dies or stalls under a writer: what was acknowledged is there, and the writer goes on by itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import cql_store
from tests.support.cql_store import versioned
from views.cql.session import CqlSession
from views.store import Batch
from views.store_scylla import StoreUnavailableError
from views.table import APPLIED, Table, integer, text
from views.versions import PUT, version

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


async def test_what_was_cut_off_comes_late_and_undoes_nothing(stack, settings):
    """A lane that is given up is cancelled, and what it had sent is still on its way when the next one writes."""
    (node,) = stack.cql
    older, newer = counted(1_000), counted(1_001)
    older.statics[COUNTED] = dict.fromkeys(older.statics[COUNTED], (-1, 1_000))
    async with cql_store.opened(settings, (COUNTED,)) as store, cql_store.opened(settings, (COUNTED,)) as other:
        for each in (store, other):  # prepares its statements
            await each.apply(counted(999))
        await asyncio.to_thread(node.pause)
        try:
            giving_up = asyncio.create_task(store.apply(older))
            await asyncio.sleep(0.2)  # time to reach the socket; were it too short, the last assertion says so
            giving_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await giving_up
        finally:
            await asyncio.to_thread(node.resume)
        await other.apply(newer)

        async def landed():
            return [row for row in await other.get_many(COUNTED, [("k1", 1_000)]) if row]

        async with asyncio.timeout(30):
            while not await landed():  # noqa: ASYNC110 - it is on its way through another process
                await asyncio.sleep(0.02)
        assert await other.statics(COUNTED, [(f"k{n}",) for n in range(ROWS)]) == [(1_001, 1_001)] * ROWS


async def test_what_is_asked_again_has_the_version_that_it_had(stack, settings):
    (node,) = stack.cql
    async with cql_store.opened(settings, (COUNTED,)) as store:
        await store.apply(counted(2_000))
        await asyncio.to_thread(node.pause)
        writing = asyncio.create_task(store.apply(counted(2_001)))
        await _until(lambda: store.repeated > 0)
        await asyncio.to_thread(node.resume)
        await writing

    session = await CqlSession.connect(settings)
    try:
        rows = await session.admin(
            f'SELECT k, writetime(n) FROM {settings.keyspace}_{cql_store.GENERATION}."{COUNTED.name}"'
        )
    finally:
        await session.close()
    assert {at for _, at in rows} == {version(settings.epoch, 2_001, PUT)}
