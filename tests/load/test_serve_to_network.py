"""A synthetic network played to one of ours, which crawls it as it would crawl strangers: every frame is accepted."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest

from headrace.load.archive.blocks import Item, Kind
from headrace.load.archive.cut import import_frames, shown
from headrace.load.archive.directory import Directory
from headrace.load.archive.items import frame_item
from headrace.load.archive.reader import Archive, Wanted, hashes
from headrace.load.archive.record import Recorder
from headrace.load.archive.verify import Verifier
from headrace.load.archive.writer import ArchiveWriter
from headrace.load.serve_archive import ArchiveHost
from headrace.load.synthesis.pool import synthesise
from headrace.load.synthesis.resign import resign
from headrace.load.synthesis.steps import Population
from ingest.repo.messages import CommitMessage
from tests.interop.firehose_vectors import CORPUS
from tests.support.network import Network
from tests.support.roles import Role

BOUND = 120.0
LABORATORY = {"allow_private_addresses": "true", "log_level": "warning"}


async def test_what_goes_through_a_relay_is_recorded_as_it_was_sent(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", source="test") as writer:
        synthesise(Population(seed=13, accounts=15, events=300), writer)
    sent = Archive(tmp_path / "a")
    count = sum(1 for _ in sent.items())
    async with ArchiveHost(tmp_path / "a") as host:
        relay = Role(
            "relay",
            tmp_path / "relay",
            {"relay_port": "0", "relay_crawl": host.url, "plc_url": host.url, **LABORATORY},
        )
        try:
            await asyncio.to_thread(relay.start)
            documents = Directory(host.url)
            with ArchiveWriter(tmp_path / "b", source="relay") as writer:
                recorder = Recorder(relay.url, writer, documents, cursor=0)
                async with asyncio.timeout(BOUND):
                    await recorder.run(frames=count)
            await documents.close()
        finally:
            relay.kill()
    again = Archive(tmp_path / "b")

    assert Verifier(again).run().failures == {}
    # Accounts may overtake each other on the way; each one's own events may not, and only seq and time are new.
    for did in {found["did"] for found in map(shown, sent.items())}:
        wanted = Wanted(dids=hashes((did,)))
        assert list(map(said, again.items(wanted))) == list(map(said, sent.items(wanted)))


def said(item: Item) -> tuple[int, bytes | str]:
    message = frame_item(item.data, 0)[1]
    assert message is not None
    return item.kind, message.head + message.tail if isinstance(message, CommitMessage) else message.did


@pytest.fixture(params=["synthetic", "real frames signed again"])
def played(request, tmp_path: Path) -> Archive:
    with ArchiveWriter(tmp_path / "a", source="test") as writer:
        if request.param == "synthetic":
            synthesise(Population(seed=12, accounts=25, events=500), writer)
        else:
            vectors = request.getfixturevalue("vectors")
            with ArchiveWriter(tmp_path / "recorded", source="corpus") as recorded:
                import_frames(vectors(f"{CORPUS}/frames.bin"), None, recorded)
            resign(Archive(tmp_path / "recorded"), writer, 5)
    return Archive(tmp_path / "a")


async def test_a_network_that_crawls_a_played_host_takes_every_frame(played: Archive, tmp_path: Path) -> None:
    frames = sum(1 for _ in played.items())
    assert frames >= 79
    assert Verifier(played).run().failures == {}
    async with ArchiveHost(played.directory) as host:
        network = Network(
            tmp_path / "data",
            {
                "relay_crawl": host.url,
                "plc_url": host.url,
                "audit_seconds": "0",
                **LABORATORY,
            },
        )
        try:
            await asyncio.to_thread(network.start)
            async with asyncio.timeout(BOUND), aiohttp.ClientSession() as session:
                while True:
                    async with session.get(f"{network.ops_url}/metrics") as response:
                        metrics = await response.text()
                    async with session.get(f"{network.ops_url}/status") as response:
                        status = await response.json()
                    taken = re.findall(r"^headrace_relay_messages_total{\S+ (\d+)\.0$", metrics, re.MULTILINE)
                    idle = re.search(
                        r"^headrace_relay_under_way_messages{source=\"host\"} 0\.0$", metrics, re.MULTILINE
                    )
                    if sum(map(int, taken)) >= frames and idle and status["views"]["behind"] == 0:
                        break
                    await asyncio.sleep(0.05)
                (did, *_) = host._played.heads(lambda _, __: True)
                query = {"actor": did}
                async with session.get(f"{network.url}/xrpc/app.bsky.actor.getProfile", params=query) as response:
                    profile = await response.json()
        finally:
            network.kill()

    assert status["log"]["appended"] >= frames  # who comes without an #identity is given one
    assert not any(status["log"]["rejected"].values())
    counted = dict(re.findall(r"^(headrace_relay_\S+) (\d+)\.0$", metrics, re.MULTILINE))
    verified = sum(item.kind == Kind.COMMIT for item in played.items())
    assert counted["headrace_relay_verified_total"] == str(verified)
    assert not [name for name, count in counted.items() if "dropped" in name and count != "0"]
    assert profile["did"] == did
