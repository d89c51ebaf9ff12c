"""The volume of a cluster's PDS, backed up while it serves, lost, and restored: the log has gone on without it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from headrace.backup.contents import strangers
from tests.cluster.test_roles import NOW, POST, Client
from tests.support.roles import RolesCluster

pytestmark = [pytest.mark.cluster, pytest.mark.drill]


@pytest.fixture
def cluster(tmp_path: Path, kafka_servers, cql_address, cluster_name) -> Iterator[RolesCluster]:
    """What writes need, and no views."""
    made = RolesCluster(tmp_path, kafka_servers, cql_address, cluster_name)
    try:
        plc = made.role("plc").start()
        made.role("derive").start()
        made.role("pds", plc_url=plc.addresses["plc"]).start()
        yield made
    finally:
        made.kill()
        made.drop()


def headrace(*words: object) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *map(str, words), "--json"], capture_output=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return orjson.loads(done.stdout)


async def records_of(client: Client) -> dict[str, str]:
    found = await client.get("com.atproto.repo.listRecords", repo=client.did, collection=POST, limit="100")
    return {record["uri"]: record["cid"] for record in found["records"]}


@pytest.mark.timeout(600)
async def test_a_lost_volume_is_restored_and_has_what_was_written_after_the_backup(
    cluster: RolesCluster, tmp_path: Path
) -> None:
    pds, backup = cluster["pds"], tmp_path / "backup"
    async with aiohttp.ClientSession() as session:
        people = [await Client(session, pds.url).join(name) for name in ("alice", "bea")]
        content = b"\x89PNG\r\n\x1a\n" + b"picture" * 100
        _, uploaded, _ = await people[0].call(
            "POST", "com.atproto.repo.uploadBlob", data=content, headers={"Content-Type": "image/png"}
        )
        blob = uploaded["blob"]
        images = {"$type": "app.bsky.embed.images", "images": [{"image": blob, "alt": ""}]}
        await people[0].create(POST, text="look", embed=images)
        kept = {client.did: (await client.create(POST, text="before")) for client in people}

        made = await asyncio.to_thread(headrace, "backup", "create", backup, "--data", pds.directory)
        after = {client.did: (await client.create(POST, text="after")) for client in people}
        said = {client.did: await records_of(client) for client in people}
        assert strangers(path.name for path in pds.directory.iterdir()) == []
        pds.kill()
        shutil.rmtree(pds.directory)
        restored = await asyncio.to_thread(headrace, "restore", backup, "--data", pds.directory)
        await asyncio.to_thread(pds.start)

        assert set(made["files"]) >= {"accounts.sqlite", "plc_rotation_key", "jwt_secret"}
        assert "next_seq" not in restored  # the log is Kafka's
        assert not (pds.directory / "restored").exists()
        for number, client in enumerate(people):
            login = {"identifier": ("alice.test", "bea.test")[number], "password": "a long password"}
            client.token = ""
            client.token = (await client.post("com.atproto.server.createSession", login))["accessJwt"]
            found = await records_of(client)
            assert found == said[client.did]
            assert {kept[client.did]["uri"], after[client.did]["uri"]} <= found.keys()
            again = await client.create(POST, text="again", createdAt=NOW)
            assert again["uri"] in await records_of(client)
        url = f"{pds.url}/xrpc/com.atproto.sync.getBlob?did={people[0].did}&cid={blob['ref']['$link']}"
        async with session.get(url) as response:
            assert (response.status, await response.read()) == (200, content)
