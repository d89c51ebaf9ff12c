"""How many statements an event costs: what a worker's speed hangs on, and what can be said of it without a clock.

The mix is the network's own (tests/bench/cluster_world.py); lanes take batches of sixty, as a loaded worker does.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from ingest.log_sqlite.log import SqliteLog
from schemas.topics import EDGES, FANOUT, RECORDS
from tests.bench.cluster_parts import Asked
from tests.bench.cluster_world import MeasuredWorld
from tests.conftest import vectors_root
from tests.support.cluster_views import GENERATION, TABLES
from tests.support.cql_store import driver, drop_all
from tests.support.lane_rig import MemoryHops, Rig
from views.store_scylla import CqlSettings, ScyllaStore
from views.view import FanoutSettings

pytestmark = pytest.mark.cluster

SHARDS = 2
BATCH = 60
EVENTS = 300


@pytest.fixture
async def store(cql_address, cluster_name):
    cql = CqlSettings(hosts=(cql_address[0],), port=cql_address[1], keyspace=cluster_name, driver=driver())
    made = await ScyllaStore.open(cql, GENERATION, TABLES, create=True)
    yield made
    await made.close()
    await drop_all(cql, GENERATION)


@pytest.mark.parametrize(
    ("handed_over", "most"),
    [(False, 2.0), (True, 4.2)],
    ids=["from an empty generation", "by a worker that has just taken its shards"],
)
async def test_an_event_costs_few_statements(tmp_path, store, handed_over, most):
    """1.3 and 3.4 when this was written, 8 before lanes remembered and small mutations shared requests."""
    log = await SqliteLog.open(tmp_path / "log.sqlite", shards=SHARDS)
    world = MeasuredWorld(vectors_root(), 40)
    rig = Rig(store, MemoryHops(random.Random(0)), SHARDS, FanoutSettings(), random.Random(0))
    await asyncio.gather(*(log.append(entry) for entry in world.beginning(6)))
    await rig.read(log)
    await settle(rig)
    await asyncio.gather(*(log.append(entry) for entry in world.events(EVENTS)))
    await rig.read(log)
    await log.close()
    if handed_over:
        rig.lanes.clear()
    for place in places():
        await rig.lane(*place)

    asked = Asked(store)
    with asked:
        await settle(rig)

    found = asked.statements / EVENTS
    print(f"{found:.2f} statements an event")
    assert 0.5 < found < most


def places():
    return [(topic, shard) for topic in (RECORDS, EDGES, FANOUT) for shard in range(SHARDS)]


async def settle(rig):
    for topic in (RECORDS, EDGES, FANOUT):
        await asyncio.gather(*(drain(rig, topic, shard) for shard in range(SHARDS)))


async def drain(rig, topic, shard):
    lane = await rig.lane(topic, shard)
    while await rig.step(lane, BATCH):
        pass
