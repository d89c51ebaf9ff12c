"""`headrace up --demo`: a person can log in and finds a timeline; it is this machine's alone, and starts again."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from headrace.demo import NAMES, PASSWORD, check
from headrace.settings import Settings, SettingsError
from tests.support.network import Network


@pytest.fixture
def network(tmp_path: Path):
    network = Network(tmp_path / "data", {"log_level": "warning"}, flags=("--demo",))
    yield network
    network.kill()


async def timeline(url: str) -> list[dict]:
    async with aiohttp.ClientSession() as session:
        login = {"identifier": "alice.test", "password": PASSWORD}
        async with session.post(f"{url}/xrpc/com.atproto.server.createSession", json=login) as response:
            token = (await response.json())["accessJwt"]
        headers = {"Authorization": f"Bearer {token}"}
        async with session.get(f"{url}/xrpc/app.bsky.feed.getTimeline", headers=headers) as response:
            assert response.status == 200
            return (await response.json())["feed"]


async def test_a_person_logs_in_and_finds_a_lively_timeline_also_after_a_restart(network: Network) -> None:
    network.start()
    said = network.log.read_text()
    assert f"log in as alice.test (or any of {len(NAMES)}), password {PASSWORD}" in said
    assert "refused" not in said

    feed = await timeline(network.url)
    assert len(feed) > 15
    assert len({item["post"]["author"]["handle"] for item in feed}) > 4
    assert any(item["post"]["likeCount"] for item in feed)

    before = {item["post"]["uri"] for item in feed}
    assert network.stop() == 0
    network.start()
    after = {item["post"]["uri"] for item in await timeline(network.url)}
    assert len(before & after) > 10
    assert network.stop() == 0


@pytest.mark.parametrize(("host", "allowed"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("x", False)])
def test_a_known_password_stays_on_this_machine(host: str, *, allowed: bool) -> None:
    settings = Settings.model_construct(host=host)
    if allowed:
        check(settings)
        return
    with pytest.raises(SettingsError, match="loopback"):
        check(settings)
