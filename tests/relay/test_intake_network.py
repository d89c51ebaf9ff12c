"""`headrace up --crawl`: one whole network reads another, and its views show what the other's people write."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.network import Network

POST = "app.bsky.feed.post"


async def test_a_network_shows_what_another_ones_people_write(tmp_path: Path) -> None:
    there = Network(tmp_path / "there")
    here = Network(tmp_path / "here")
    try:
        await asyncio.to_thread(there.start)
        name = there.url.replace("127.0.0.1", "localhost").removeprefix("http://")
        here.settings = {
            "plc_url": there.plc_url,
            "plc_port": "0",
            "relay_crawl": name,
            "allow_private_addresses": "true",
            "relay_processes": "1",
            "handle_domains": ".here.test",
        }
        async with aiohttp.ClientSession() as session:
            account = await _post(
                session,
                there,
                "com.atproto.server.createAccount",
                handle="alice.test",
                email="a@b.test",
                password="a password",
            )
            did, token = account["did"], account["accessJwt"]
            await _write(session, there, did, token, "before it was read")
            await asyncio.to_thread(here.start)
            await _write(session, there, did, token, "while it is read")
            texts: list[str] = []

            async def look() -> None:
                url = f"{here.url}/xrpc/app.bsky.feed.getAuthorFeed"
                async with session.get(url, params={"actor": did}) as response:
                    found = await response.json()
                texts[:] = [item["post"]["record"]["text"] for item in found.get("feed", ())]

            async def shows(*wanted: str) -> None:
                try:
                    async with asyncio.timeout(30):
                        while texts != list(wanted):
                            await look()
                except TimeoutError:
                    raise AssertionError(f"wanted {wanted}, found {texts}: {here.log.read_text()[-2000:]}") from None

            await shows("while it is read", "before it was read")
            assert await asyncio.to_thread(here.stop) == 0
            await _write(session, there, did, token, "while it was away")
            here.settings = {name: value for name, value in here.settings.items() if name != "relay_crawl"}
            await asyncio.to_thread(here.start)  # the host is remembered
            await shows("while it was away", "while it is read", "before it was read")
            async with session.get(f"{here.ops_url}/metrics") as response:
                metrics = await response.text()
            assert 'headrace_relay_hosts{state="active"} 1.0' in metrics
            assert 'headrace_relay_messages_total{kind="commit",source="host"}' in metrics
            assert 'headrace_queue_limit_entries{queue="relay_under_way"} 4096.0' in metrics
            assert 'headrace_queue_entries{queue="log"} ' in metrics
    finally:
        here.kill()
        there.kill()


async def _post(session: aiohttp.ClientSession, network: Network, nsid: str, token: str = "", **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with session.post(f"{network.url}/xrpc/{nsid}", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def _write(session: aiohttp.ClientSession, network: Network, did: str, token: str, text: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {"$type": POST, "text": text, "createdAt": now}
    await _post(session, network, "com.atproto.repo.createRecord", token, repo=did, collection=POST, record=record)
