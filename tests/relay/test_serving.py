"""The firehose as whoever reads it sees it, while it is written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from headrace.settings import load
from headrace.wiring.embedded import Network
from ingest.repo.frame import decode_frame
from tests.relay.listener import listening
from tests.relay.world.host import Host
from tests.relay.world.people import People
from tests.relay.world.relay import World

SUBSCRIBE = "/xrpc/com.atproto.sync.subscribeRepos"
PEOPLE = 6


async def seqs(socket: aiohttp.ClientWebSocketResponse, last: int) -> list[int]:
    """Of every frame up to that one."""
    found: list[int] = []
    while not found or found[-1] < last:
        found.append(decode_frame(await socket.receive_bytes(timeout=20)).seq)
    return found


async def test_who_listens_is_told_of_a_new_account_from_its_first_event(tmp_path: Path) -> None:
    network = await Network.open(load({"data": tmp_path, "port": 0, "plc_port": 0, "ops_port": 0}))
    url = network.addresses["xrpc"]
    try:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}{SUBSCRIBE}?cursor=0") as socket:
            for number in range(PEOPLE):
                body = {"handle": f"person{number}.test", "email": f"p{number}@example.com", "password": "a password"}
                async with session.post(f"{url}/xrpc/com.atproto.server.createAccount", json=body) as response:
                    assert response.status == 200, await response.text()

            assert await seqs(socket, 3 * PEOPLE) == list(range(1, 3 * PEOPLE + 1))
    finally:
        await network.close()


async def test_fifty_subscribers_from_everywhere_see_everything_while_it_is_written(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 6)]
        await host.say(*(member.write() for _ in range(20) for member in members))
        async with World(tmp_path, people) as world, listening(world, tmp_path) as relay:
            await relay.admin("pds/requestCrawl", {"hostname": host.name, "trusted": True})
            await world.taken(host)

            async def follow(number: int) -> list[int]:
                async with relay.frames(f"?cursor={number * 2}") as socket:
                    return await seqs(socket, 200)

            following = [asyncio.ensure_future(follow(number)) for number in range(50)]
            for _ in range(20):
                await host.say(*(member.write() for member in members))
            found = await asyncio.gather(*following)

    assert found == [list(range(number * 2 + 1, 201)) for number in range(50)]
