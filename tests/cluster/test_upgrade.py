"""An upgrade of a cluster as docs/operations.md walks through it: views of another shape, readers who go on asking.

The old version's roles run; the new version's generation is built beside, its AppView starts upon it, the flip, the old
AppView's end; and back. No read fails, and none is wrong, at any AppView that serves.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import aiohttp
import pytest

from tests.cluster.test_roles import FOLLOW, POST, Client, settled
from tests.support import older
from tests.support.open_readers import OpenReaders
from tests.support.roles import RolesCluster
from views.cql.settings import CqlSettings
from views.generations_scylla import CqlRegistry

pytestmark = [pytest.mark.cluster, pytest.mark.drill]
EVERY = 0.2


@pytest.fixture
def cluster(tmp_path, kafka_servers, cql_address, cluster_name) -> Iterator[RolesCluster]:
    made = RolesCluster(tmp_path, kafka_servers, cql_address, cluster_name)
    made.module = older.NAME
    try:
        yield made.start()
    finally:
        made.kill()
        made.drop()


async def command(cluster: RolesCluster, *words: str, module: str = "headrace") -> tuple[int, str]:
    """A command of the new version, or of another."""
    sets = [word for name, value in cluster.settings.items() for word in ("--set", f"{name}={value}")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *words, *sets, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    said, complained = await process.communicate()
    return process.returncode or 0, (said + complained).decode()


async def states(cluster: RolesCluster) -> dict[str, str]:
    settings = cluster.settings
    cql = CqlSettings(hosts=(settings["cql_hosts"],), port=int(settings["cql_port"]), keyspace=settings["cql_keyspace"])
    registry = await CqlRegistry.open(cql)
    try:
        return {each.name: each.state for each in await registry.all()}
    finally:
        await registry.close()


async def until(cluster: RolesCluster, wanted: dict[str, str]) -> None:
    async with asyncio.timeout(240):
        while (found := await states(cluster)) != wanted:
            assert found.keys() == wanted.keys()


async def generation_of(session: aiohttp.ClientSession, appview) -> str:
    async with session.get(f"{appview.ops}/status") as response:
        return (await response.json())["generation"]


async def flipped(session: aiohttp.ClientSession, appview, name: str) -> None:
    """Return once the AppView reads it; every request is a look."""
    async with asyncio.timeout(120):
        while await generation_of(session, appview) != name:
            pass


@pytest.mark.timeout(900)
async def test_views_of_another_shape_are_built_flipped_to_and_back_and_no_read_fails(cluster: RolesCluster) -> None:
    async with aiohttp.ClientSession() as session:
        people = [await Client(session, cluster["pds"].url).join(name) for name in ("alice", "bea", "cleo")]
        alice, *others = people
        for other in others:
            await alice.create(FOLLOW, subject=other.did)
            await other.create(FOLLOW, subject=alice.did)
        posts = {(await alice.create(POST, text=f"post {n}"))["uri"] for n in range(5)}
        await settled(session, cluster)
        followed = {other.did for other in others}
        asks = [
            (
                f"/xrpc/app.bsky.graph.getFollows?actor={alice.did}",
                lambda body: {view["did"] for view in body["follows"]} == followed,
            ),
            (
                f"/xrpc/app.bsky.feed.getAuthorFeed?actor={alice.did}&limit=100",
                lambda body: {item["post"]["uri"] for item in body["feed"]} == posts,
            ),
            (
                f"/xrpc/app.bsky.actor.getProfile?actor={alice.did}",
                lambda body: (body["followsCount"], body["postsCount"]) == (len(followed), len(posts)),
            ),
        ]
        old = cluster["appview"]
        code, said = await command(cluster, "schema", "check")
        assert (code, "expected" in said) == (1, True), said

        async with OpenReaders([old.url], asks, EVERY) as readers:
            writing = asyncio.create_task(write_on(others))
            cluster.module = "headrace"
            code, said = await command(cluster, "views", "build", "g2")
            assert code == 0, said
            await asyncio.to_thread(cluster.role("process", "-g2", generation="g2").start)
            await until(cluster, {"g1": "live", "g2": "ready"})
            plc_url = cluster["plc"].addresses["plc"]
            new = cluster.role("appview", "-g2", generation="g2", plc_url=plc_url)
            await asyncio.to_thread(new.start)
            # Both versions serve, each what it knows.
            assert (await generation_of(session, old), await generation_of(session, new)) == ("g1", "g2")
            readers.servers.append(new.url)
            await readers.have_read(new.url, 10)
            code, said = await command(cluster, "views", "flip", "g2")
            assert code == 0, said
            assert await states(cluster) == {"g1": "retired", "g2": "live"}
            await readers.have_read(old.url, 10)
            await readers.have_read(new.url, 10)
            assert (await generation_of(session, old), await generation_of(session, new)) == ("g1", "g2")
            readers.servers.remove(old.url)
            await readers.drain()
            assert await asyncio.to_thread(old.stop) == 0

            # Back: the old version's AppView beside the new one, the flip, the new one's end.
            await asyncio.to_thread(old.start)
            readers.servers.append(old.url)
            await readers.have_read(old.url, 10)
            code, said = await command(cluster, "views", "flip", "g1")
            assert (code, "another shape" in said) == (3, True), said
            code, said = await command(cluster, "views", "flip", "g1", module=older.NAME)
            assert code == 0, said
            await flipped(session, old, "g1")
            await readers.have_read(old.url, 10)
            readers.servers.remove(new.url)
            await readers.drain()
            assert await asyncio.to_thread(new.stop) == 0
            await readers.have_read(old.url, 10)
            assert readers.wrong == []
            assert not writing.done()
            writing.cancel()
        assert await states(cluster) == {"g1": "live", "g2": "retired"}


async def write_on(clients: list[Client]) -> None:
    """Posts of others, so that both generations have what to do."""
    while True:
        for client in clients:
            await client.create(POST, text=str(time.time_ns()))
