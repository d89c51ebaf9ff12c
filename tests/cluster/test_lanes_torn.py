"""A batch that a CQL store has in part comes to the same when it is redone, cut otherwise: that is versions' work."""

from __future__ import annotations

import pytest

from tests.support.cql_store import driver, drop_all
from tests.support.torn_like import torn_and_redone
from views.interactions import TABLE
from views.store_scylla import CqlSettings, ScyllaStore

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("versions", [True, False])
async def test_a_like_that_was_taken_back_stays_away_when_its_batch_is_redone(cql_address, cluster_name, versions):
    """With the last writer winning it comes back: so this could fail."""
    cql = CqlSettings(hosts=(cql_address[0],), port=cql_address[1], keyspace=cluster_name, driver=driver())
    generation = "versions" if versions else "clock"
    store = await ScyllaStore.open(cql, generation, [TABLE], create=True)
    try:
        likes, statics = await torn_and_redone(store, versions=versions)
    finally:
        await store.close()
        await drop_all(cql, generation)

    assert len(likes) == (0 if versions else 1)
    assert statics[0] == 0
