"""`headrace up` that backfills another one, a real PDS: its views show what was written before anybody listened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from headrace import client
from headrace.backfill_hooks import BEGIN, SHOW
from headrace.settings import load
from headrace.wiring.embedded import Network

POST, LIKE = "app.bsky.feed.post", "app.bsky.feed.like"
PASSWORD = "a password"
NAMES = ("ada", "ben", "cleo", "dan", "eva")
SECONDS = 60.0


class Person:
    def __init__(self, url: str, session: aiohttp.ClientSession, account: dict[str, Any]) -> None:
        self._url = url
        self._session = session
        self._token = account["accessJwt"]
        self.did = account["did"]

    async def call(self, nsid: str, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self._session.post(f"{self._url}/xrpc/{nsid}", json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            return orjson.loads(await response.read() or b"{}")

    async def write(self, collection: str, **record: Any) -> dict[str, str]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        made = await self.call(
            "com.atproto.repo.createRecord",
            repo=self.did,
            collection=collection,
            record={"$type": collection, "createdAt": now, **record},
        )
        return {"uri": made["uri"], "cid": made["cid"]}


async def asked(directory: Path, hook: str, line: bytes) -> list[dict[str, Any]]:
    async def pieces() -> AsyncIterator[bytes]:
        yield line

    found: list[dict[str, Any]] = (await client.send(directory, hook, pieces(), "test"))["backfills"]
    return found


async def shown(session: aiohttp.ClientSession, url: str, did: str) -> list[tuple[str, int]]:
    """The posts of an account as an AppView shows them, with their likes."""
    async with session.get(f"{url}/xrpc/app.bsky.feed.getAuthorFeed", params={"actor": did}) as response:
        found = await response.json()
    return [(item["post"]["record"]["text"], item["post"]["likeCount"]) for item in found.get("feed", ())]


async def test_what_was_written_before_anybody_listened_is_shown_once_it_is_fetched(tmp_path: Path) -> None:
    ports = {"port": 0, "plc_port": 0, "ops_port": 0}
    there = await Network.open(load({"data": tmp_path / "there", **ports}))
    try:
        url = there.addresses["xrpc"].replace("127.0.0.1", "localhost")
        name = url.removeprefix("http://")
        async with aiohttp.ClientSession() as session:
            people = []
            for who in NAMES:
                body = {"handle": f"{who}.test", "email": f"{who}@example.com", "password": PASSWORD}
                async with session.post(f"{url}/xrpc/com.atproto.server.createAccount", json=body) as response:
                    people.append(Person(url, session, await response.json()))
            posts = [await person.write(POST, text=f"{n} of {person.did}") for n in range(3) for person in people]
            for person in people[1:-1]:
                await person.write(LIKE, subject=posts[0])
            await people[-1].call("com.atproto.server.deactivateAccount")

            data = tmp_path / "here"
            here = await Network.open(
                load(
                    {
                        "data": data,
                        **ports,
                        "plc_url": there.addresses["plc"],
                        "relay_crawl": (name,),
                        "relay_backlog": False,
                        "allow_private_addresses": True,
                        "handle_domains": (".here.test",),
                    }
                )
            )
            try:
                client.write_addresses(data, {"pid": 1, **here.addresses})
                (begun,) = await asked(data, BEGIN, orjson.dumps({"hosts": [name]}))
                await people[0].write(POST, text="while it is fetched")
                async with asyncio.timeout(SECONDS):
                    while (views := await asked(data, SHOW, orjson.dumps({"ids": [begun["id"]]})))[0]["ended"] is None:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                    want = [await shown(session, there.addresses["xrpc"], person.did) for person in people]
                    found: list[Any] = []
                    while found != want:
                        found = [await shown(session, here.addresses["xrpc"], person.did) for person in people]
                        await asyncio.sleep(0.02)
            finally:
                await here.close()

        assert views[0]["became"] == {"fetched": 4, "inactive": 1}
        assert views[0]["whole"]
        assert [len(each) for each in want] == [4, 3, 3, 3, 0]
        assert want[0][-1] == (f"0 of {people[0].did}", 3)
    finally:
        await there.close()
