"""A whole network in the test's own loop, spoken to over real HTTP."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from headrace.secrets import admin_token
from headrace.settings import Settings, load
from headrace.wiring.embedded import Network
from schemas import cbor


@dataclass
class Member:
    did: str
    handle: str
    access: str
    refresh: str

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any

    @property
    def error(self) -> tuple[int, str]:
        return self.status, self.body.get("error")


class House:
    """One network and a client for it. `get`, `post` name a method by its NSID."""

    def __init__(self, settings: Settings, network: Network, session: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.network = network
        self.session = session

    @property
    def admin(self) -> dict[str, str]:
        text = f"admin:{admin_token(self.settings)}".encode()
        return {"Authorization": f"Basic {base64.b64encode(text).decode()}"}

    async def get(self, nsid: str, headers: dict[str, str] | None = None, **params: Any) -> Answer:
        found = {name: value for name, value in params.items() if value is not None}
        url = f"{self.network.addresses['xrpc']}/xrpc/{nsid}"
        async with self.session.get(url, params=found, headers=headers) as response:
            return await _answer(response)

    async def post(
        self, nsid: str, body: Any = None, headers: dict[str, str] | None = None, data: bytes | None = None
    ) -> Answer:
        url = f"{self.network.addresses['xrpc']}/xrpc/{nsid}"
        async with self.session.post(url, json=body, data=data, headers=headers) as response:
            return await _answer(response)

    async def join(self, name: str) -> Member:
        answer = await self.post(
            "com.atproto.server.createAccount",
            {"handle": f"{name}.test", "email": f"{name}@example.com", "password": f"password-{name}"},
        )
        assert answer.status == 200, answer.body
        body = answer.body
        return Member(body["did"], body["handle"], body["accessJwt"], body["refreshJwt"])

    async def create(self, member: Member, collection: str, record: dict[str, Any], rkey: str | None = None) -> Any:
        body = {"repo": member.did, "collection": collection, "record": {"$type": collection, **record}}
        if rkey is not None:
            body["rkey"] = rkey
        answer = await self.post("com.atproto.repo.createRecord", body, member.auth)
        assert answer.status == 200, answer.body
        return answer.body

    async def say(self, member: Member, text: str, **more: Any) -> Any:
        return await self.create(
            member, "app.bsky.feed.post", {"text": text, "createdAt": "2026-01-01T00:00:00.000Z", **more}
        )

    async def firehose(self, count: int, cursor: int = 0) -> list[tuple[str, Any]]:
        """`count` messages after `cursor`: (type, payload)."""
        url = f"{self.network.addresses['xrpc']}/xrpc/com.atproto.sync.subscribeRepos?cursor={cursor}"
        async with self.session.ws_connect(url) as socket:
            return [split(await socket.receive_bytes(timeout=20)) for _ in range(count)]


def split(frame: bytes) -> tuple[str, Any]:
    """The type and payload of a message frame, in which the header is a map of two short entries."""
    for end in range(4, 64):
        try:
            header, payload = cbor.decode(frame[:end]), cbor.decode(frame[end:])
        except cbor.CborRefused:
            continue
        return header["t"], payload
    raise AssertionError(frame)


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    raw = await response.read()
    body = orjson.loads(raw) if raw and response.content_type == "application/json" else raw
    return Answer(response.status, body, response.headers)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    settings = load({"data": tmp_path / "data", "port": 0, "plc_port": 0, "ops_port": 0, "rate_limit_scale": 1000})
    network = await Network.open(settings)
    try:
        async with aiohttp.ClientSession() as session:
            yield House(settings, network, session)
    finally:
        await network.close()
