"""A synthetic network played to one of ours, which crawls it as it would crawl strangers: every frame is accepted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from headrace.load.archive.writer import ArchiveWriter
from headrace.load.serve_archive import ArchiveHost
from headrace.load.synthesis.plan import Population
from headrace.load.synthesis.pool import synthesise
from tests.support.network import Network

BOUND = 120.0


async def test_a_network_that_crawls_a_synthetic_host_takes_every_frame(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", source="test") as writer:
        made = synthesise(Population(seed=12, accounts=25, events=500), writer)
    async with ArchiveHost(tmp_path / "a") as host:
        network = Network(
            tmp_path / "data",
            {
                "relay_crawl": host.url,
                "plc_url": host.url,
                "allow_private_addresses": "true",
                "audit_seconds": "0",
                "log_level": "warning",
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
