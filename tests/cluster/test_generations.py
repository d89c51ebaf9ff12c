"""Generations of a cluster: built beside while the log goes on, compared, flipped to and back, dropped; and commands
that die half way.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace

import orjson
import pytest
import pytest_asyncio

from ingest.log_kafka.client import KafkaSettings
from schemas.errors import InvariantError
from tests.support.cluster_generations import Cluster
from tests.support.cluster_views import same_rows
from tests.support.cql_store import driver
from tests.support.stack import only_long
from views import ALL, posts
from views.generations import GenerationError
from views.store_scylla import CqlSettings

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(kafka_servers, cql_address, cluster_name, tmp_path_factory):
    kafka = KafkaSettings(servers=kafka_servers, cluster=cluster_name)
    cql = CqlSettings(hosts=(cql_address[0],), port=cql_address[1], keyspace=cluster_name, driver=driver())
    made = await Cluster().open(kafka, cql, tmp_path_factory.mktemp("log"))
    yield made
    await made.close()


async def test_a_generation_s_life(cluster):
    """In one order, as it takes a keyspace each: first start, build, diff, flip, flip back, drop."""
    generations = cluster.generations
    with pytest.raises(GenerationError, match="the first is made by headrace process, as g1"):
        await generations.build("g2")
    await cluster.work("g1")
    await cluster.feed.send(40)
    assert await cluster.states() == {"g1": "live"}
    assert await cluster.lag() == 24 * 3_600_000
    with pytest.raises(InvariantError, match="there is no generation g2: found g1"):
        await generations.enter("g2")

    code, said, complained = await cluster.command("views", "build")
    assert code == 0, complained
    assert orjson.loads(said)["state"] == "building"
    assert await cluster.lag() > 10**15
    for refused, why in (
        (generations.flip("g2"), "wait for ready"),
        (generations.flip("g1"), "live already"),
        (generations.drop("g1"), "flip to another"),
        (generations.build("g2"), "there is a generation g2"),
        (generations.build("G"), "no name of a generation"),
        (generations.diff("g1", "g9"), "there is no generation g9"),
        (generations.skip("records", 0, 1, "why"), "already|no entry"),
        (generations.skip("edges", 0, 1, "why"), "expected one of commits, records, operations, edges.g1"),
        (generations.skip("records", 7, 1, "why"), "shards 0 to 1"),
        (generations.skip("records", 0, 10**9, "why"), "the newest is at"),
    ):
        with pytest.raises(GenerationError, match=why):
            await refused
    await cluster.seen("g1")
    await cluster.work("g2")
    await cluster.act(30)
    await cluster.ready("g2")
    assert await cluster.lag() == 24 * 3_600_000
    assert await cluster.states() == {"g1": "live", "g2": "ready"}

    acting = asyncio.create_task(cluster.act(30))
    diff = await generations.diff("g1", "g2")
    await acting
    assert diff.equal, [view for view in diff.views if view.left != view.right]
    assert sum(view.lines[0] for view in diff.views) > 100

    assert (await cluster.command("views", "flip", "g2", crash="generation.before_flip:1"))[0] == -signal.SIGKILL
    assert await cluster.states() == {"g1": "live", "g2": "ready"}
    assert (await cluster.command("views", "flip", "g2", crash="generation.after_flip:1"))[0] == -signal.SIGKILL
    assert await cluster.states() == {"g1": "retired", "g2": "live"}
    assert await cluster.registry.live() == "g2"
    assert (await generations.flip("g1")).state == "live"
    assert (await generations.flip("g2")).state == "live"
    await cluster.seen("g2")
    await same_rows(cluster.stores["g2"], cluster.network, "after the flips")

    with pytest.raises(GenerationError, match="g1 has 1 workers"):
        await generations.drop("g1")
    await cluster.rest("g1")
    await cluster.act(5)
    await cluster.seen("g2")
    with pytest.raises(GenerationError, match="g1 does not follow the log"):
        await generations.flip("g1")
    assert (await cluster.command("views", "drop", "g1", crash="generation.mid_drop:1"))[0] == -signal.SIGKILL
    assert await cluster.states() == {"g2": "live"}
    code, _, complained = await cluster.command("views", "flip", "g1")
    assert code == 3
    assert "there is no generation g1: found g2" in complained


async def test_a_build_that_dies_before_it_is_registered_leaves_nothing_held_for_good(cluster):
    """Behind the one above; doctor tells it, and any processor gives it back."""
    day = 24 * 3_600_000
    assert await cluster.lag() == day
    states = await cluster.states()
    await cluster.lock_expires()
    code, _, complained = await cluster.command("views", "build", "g9", crash="generation.after_hold:1")
    assert code == -signal.SIGKILL
    assert "crash: generation.after_hold" in complained
    assert await cluster.states() == states
    assert await cluster.lag() > 10**15
    held = await cluster.doctor("compaction")
    await cluster.lock_expires()

    assert await cluster.generations.give_back()

    assert await cluster.lag() == day
    assert not await cluster.generations.give_back()
    assert not held["well"]
    assert "a build died on the way" in held["message"]
    assert (await cluster.doctor("compaction"))["message"] == "compaction works"


async def test_what_is_held_for_a_build_is_not_given_back(cluster):
    await cluster.generations.build("g8")
    assert not await cluster.generations.give_back()
    assert await cluster.lag() > 10**15
    assert (await cluster.doctor("compaction"))["message"] == "compaction is held while g8 is being built"

    await cluster.generations.drop("g8")
    assert await cluster.lag() == 24 * 3_600_000


@only_long
async def test_another_projection_is_named_row_by_row(cluster):
    """After what a drop that died had left behind, under the same name."""
    generations = cluster.generations
    code, _, complained = await cluster.command("views", "build", "g1", crash="generation.after_add:1")
    assert code == -signal.SIGKILL, complained
    assert "crash: generation.after_add" in complained
    sound = posts.VIEW.rows["app.bsky.feed.post"]
    other = replace(posts.VIEW, rows={"app.bsky.feed.post": lambda post: [_other(row) for row in sound(post)]})
    await cluster.work("g1", [other if view is posts.VIEW else view for view in ALL])
    await cluster.ready("g1")

    diff = await generations.diff("g2", "g1")

    differing = [view for view in diff.views if view.left != view.right]
    assert [view.view for view in differing] == ["posts"]
    assert differing[0].rows
    assert all(row.right == _other(row.left) for row in differing[0].rows)
    await cluster.rest("g1")
    await generations.drop("g1")
    assert await cluster.states() == {"g2": "live"}


def _other(row):
    return (row[0], "other", *row[2:])
