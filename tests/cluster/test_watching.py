"""What an operator sees of a whole cluster: the screen of `headrace status`, and a processor's page of the river."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cluster.test_roles import POST, Client
from tests.ops.test_page import contrast, picture
from tests.support.devtools import browser
from tests.support.roles import RolesCluster
from views import posts
from views.cql.session import CqlSession, CqlSettings
from views.cql.text import named

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]  # six processes are started, and a browser
SHARDS = 2
SECONDS = 240.0
LANES = {f"{topic}[{shard}]" for topic in ("records", "operations", "edges", "fanout") for shard in range(SHARDS)}


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, kafka_servers: str, cql_address: tuple[str, int], cluster_name: str
) -> Iterator[RolesCluster]:
    settings = {"audit_seconds": "0.2", "runner": "plain", "shards": str(SHARDS)}
    made = RolesCluster(tmp_path_factory.mktemp("watching"), kafka_servers, cql_address, cluster_name, **settings)
    try:
        yield made.start()
    finally:
        made.kill()
        made.drop()


def status(cluster: RolesCluster, *more: str) -> subprocess.CompletedProcess[str]:
    places = [part for name, role in cluster.roles.items() for part in ("--ops", f"{name}={role.ops}")]
    return subprocess.run(
        [sys.executable, "-m", "headrace", "status", *places, *more],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, "COLUMNS": "200"},
    )


def by_name(cluster: RolesCluster) -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(status(cluster, "--json").stdout)["processes"]}


async def change(cluster: RolesCluster, uri: str) -> None:
    """As an operator would at a shell of the store."""
    host, port, keyspace = (cluster.settings[name] for name in ("cql_hosts", "cql_port", "cql_keyspace"))
    session = await CqlSession.connect(CqlSettings(hosts=(host,), port=int(port)))
    try:
        table = named(f"{keyspace}_g1", posts.TABLE)
        while not await session.admin(f"SELECT cid FROM {table} WHERE uri = %s", (uri,)):  # noqa: ASYNC110 - the store's
            await asyncio.sleep(0.2)
        await session.admin(f"UPDATE {table} SET cid = 'other' WHERE uri = %s", (uri,))
    finally:
        await session.close()


async def test_the_screen_shows_every_role_and_what_went_wrong(cluster: RolesCluster) -> None:
    async with asyncio.timeout(SECONDS), aiohttp.ClientSession() as session:
        alice = await Client(session, cluster["pds"].url).join("alice")
        await change(cluster, (await alice.create(POST, text="hello"))["uri"])
        found = await asyncio.to_thread(by_name, cluster)
        while found["process"]["behind"] or not found["process"]["status"]["errors"]:
            found = await asyncio.to_thread(by_name, cluster)
    shown = status(cluster)
    lines = {name: next(line for line in shown.stdout.splitlines() if f" {name} " in line) for name in cluster.roles}

    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert found.keys() == cluster.roles.keys() == {"plc", "pds", "derive", "process", "firehose", "appview"}
    assert "6 of 6 are well" in shown.stdout
    assert all("ready" in line for line in lines.values())
    assert all(f"commits[{shard}]" in lines["derive"] for shard in range(SHARDS))
    assert all(lane in lines["process"] for lane in LANES)
    assert all("g1" in lines[name] for name in ("process", "appview"))
    assert any(line.startswith("process: ") and "views.divergent" in line for line in shown.stdout.splitlines())
    process = found["process"]
    assert (process["ready"], process["live"], process["behind"], process["waiting"]) == (True, True, 0, 0)
    assert process["freshness"] >= 0
    assert set(process["status"]["views"]["lanes"]) == LANES
    assert process["status"]["errors"][-1]["event"] == "views.divergent"


async def test_one_that_is_killed_is_said_to_be_away(cluster: RolesCluster) -> None:
    role = cluster["firehose"]
    role.kill()
    try:
        shown = status(cluster)
    finally:
        role.start()

    assert shown.returncode == 1
    assert "5 of 6 are well" in shown.stdout
    assert any(" firehose " in line and "away" in line for line in shown.stdout.splitlines())


async def test_a_processor_shows_the_river_of_the_cluster(cluster: RolesCluster, tmp_path: Path) -> None:
    taken = "Number(document.querySelectorAll('#stages td:last-child')[1].textContent.replaceAll(',', ''))"
    url = cluster["process"].ops
    async with aiohttp.ClientSession() as session, browser(tmp_path / "profile") as page:
        bob = await Client(session, cluster["pds"].url).join("bob")
        await page.open(f"{url}/")
        await page.until("document.getElementById('state').textContent === 'Running'")
        before = await page.value(taken)
        await bob.create(POST, text="what moves")
        await page.until(f"{taken} > {before}")
        await page.until("document.getElementById('behind').textContent === '0'")

        heads = await page.value("[...document.querySelectorAll('#stages th')].map((each) => each.textContent)")
        assert [head.partition(":")[0] for head in heads] == ["Commits", "Records", "Edges", "Fanout"]
        shards = await page.value("[...document.querySelectorAll('#shards th')].map((each) => each.textContent)")
        assert shards == [str(shard) for shard in range(SHARDS)]
        views = await page.value("[...document.querySelectorAll('#views dt')].map((each) => each.textContent)")
        assert {"posts", "followers", "timelines"} <= set(views)
        assert await page.value("document.getElementById('generation').textContent") == "g1"
        assert "changes a second" in await page.value("document.getElementById('said').textContent")

        # What other roles know is not there, to whoever hears the page either.
        names = await page.names()
        assert {("heading", "The river"), ("heading", "Shards"), ("columnheader", "Age")} <= names
        assert not {("heading", "Newest posts"), ("heading", "Slowest endpoints")} & names
        assert all(name for role, name in names if role in ("image", "region", "table", "heading", "link"))
        for width in (1280, 375):
            await page.open(f"{url}/", width=width)
            await page.until("document.querySelectorAll('#shards tr').length === 2")
            assert await page.value("document.documentElement.scrollWidth") <= width
            assert await contrast(page) >= 4.5, width
            await picture(page, f"cluster-{width}")

        assert page.complaints == []
        assert {address for address in page.asked if not address.startswith((url, "data:,"))} == set()
