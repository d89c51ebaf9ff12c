"""A synthetic network played to one of ours, which crawls it as it would crawl strangers: every frame is accepted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from headrace.load.archive.blocks import Item
from headrace.load.archive.cut import shown
from headrace.load.archive.directory import Directory
from headrace.load.archive.items import frame_item
from headrace.load.archive.reader import Archive, Wanted, hashes
from headrace.load.archive.record import Recorder
from headrace.load.archive.verify import Verifier
from headrace.load.archive.writer import ArchiveWriter
from headrace.load.serve_archive import ArchiveHost
from headrace.load.synthesis.plan import Population
from headrace.load.synthesis.pool import synthesise
from ingest.repo.messages import CommitMessage
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


async def test_a_network_that_crawls_a_synthetic_host_takes_every_frame(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", source="test") as writer:
        made = synthesise(Population(seed=12, accounts=25, events=500), writer)
    async with ArchiveHost(tmp_path / "a") as host:
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
                    async with session.get(f"{network.ops_url}/status") as response:
                        status = await response.json()
                    if status["log"]["appended"] >= sum(made.frames.values()) and status["views"]["behind"] == 0:
                        break
                    await asyncio.sleep(0.05)
                (did, *_) = host._all_heads()
                query = {"actor": did}
                async with session.get(f"{network.url}/xrpc/app.bsky.actor.getProfile", params=query) as response:
                    profile = await response.json()
        finally:
            network.kill()

    assert status["log"]["appended"] == sum(made.frames.values())
    assert not any(status["log"]["rejected"].values())
    assert profile["did"] == did
    assert profile["followsCount"] > 0
