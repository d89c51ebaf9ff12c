"""The page of the river, open in a browser while somebody posts: what a person sees and a screen reader is told."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from api.ops import build_ops_app
from tests.support.devtools import Page, browser
from tests.support.network import Network

NAUGHTY = '<img src=x onerror="document.title=1"> & "sluice" \u202eopen'
GATE = "The sluice is open"
NEWEST = "[...document.querySelectorAll('#posts li p:not(.who)')].map((each) => each.textContent)"


class Writer:
    """An account of a running network."""

    def __init__(self, network: Network, session: aiohttp.ClientSession, name: str) -> None:
        self._url = f"{network.url}/xrpc/com.atproto."
        self._session = session
        self._name = name
        self._headers: dict[str, str] = {}
        self.did = ""

    async def join(self) -> Writer:
        body = {"handle": f"{self._name}.test", "email": f"{self._name}@example.com", "password": "sluice-1"}
        made = await self._post("server.createAccount", body)
        self.did = made["did"]
        self._headers = {"Authorization": f"Bearer {made['accessJwt']}"}
        return self

    async def write(self, text: str) -> None:
        record = {"$type": "app.bsky.feed.post", "text": text, "createdAt": "2026-01-01T00:00:00Z"}
        body = {"repo": self.did, "collection": "app.bsky.feed.post", "record": record}
        await self._post("repo.createRecord", body)

    async def rest(self) -> None:
        await self._post("server.deactivateAccount", {})

    async def _post(self, nsid: str, body: dict[str, Any]) -> Any:
        async with self._session.post(self._url + nsid, json=body, headers=self._headers) as answer:
            found = await answer.read()
            assert answer.status == 200, found
            return await answer.json() if found else None


async def picture(page: Page, name: str) -> None:
    """Where PICTURES wants it, for people to look at."""
    if folder := os.environ.get("PICTURES"):
        Path(folder, f"{name}.png").write_bytes(await page.picture())  # noqa: ASYNC240 - only when asked for


async def contrast(page: Page) -> float:
    """The lowest, of all text on what lies behind it (WCAG 2.2, 1.4.3)."""
    return float(
        await page.value(
            """(() => {
      const parts = (colour) => colour.match(/[0-9.]+/g).map(Number);
      const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92
        : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
      const behind = (node) => { for (; node; node = node.parentElement) {
        const found = parts(getComputedStyle(node).backgroundColor); if (found.length < 4 || found[3]) return found; }
        return [255, 255, 255]; };
      const texts = [...document.querySelectorAll("h1,h2,p,span,dt,dd,th,td,caption,a,svg text")];
      return Math.min(...texts.filter((each) => each.textContent.trim()).map((each) => {
        const style = getComputedStyle(each), ink = parts(each instanceof SVGElement ? style.fill : style.color);
        const pair = [light(ink), light(behind(each.parentElement))].sort((a, b) => b - a);
        return (pair[0] + .05) / (pair[1] + .05); })); })()"""
        )
    )


async def test_a_person_sees_the_river_move(network: Network, tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session, browser(tmp_path / "profile") as page:
        ada, bob = [await Writer(network, session, name).join() for name in ("ada", "bob")]
        await bob.write("Bob is here")
        await page.open(f"{network.ops_url}/")
        await page.until(f"{NEWEST}.includes('Bob is here')")
        taken = "Number(document.querySelector('#stages td:last-child').textContent.replaceAll(',', ''))"
        before = await page.value(taken)

        # What moves after a post.
        await ada.write(NAUGHTY)
        await ada.write(GATE)
        await page.until(f"{NEWEST}[0] === {GATE!r}")
        await page.until(f"{taken} >= {before} + 2")
        assert NAUGHTY in await page.value(NEWEST), "text is shown, and nothing of it runs"
        assert await page.value("document.title") == "Headrace: the river"
        assert await page.until("document.getElementById('state').textContent") == "Running"
        named = await page.value("[...document.querySelectorAll('#views dt')].map((each) => each.textContent)")
        assert {"posts", "records", "timelines"} <= set(named)
        assert "com.atproto.repo.createRecord" in await page.value("document.getElementById('endpoints').innerText")

        # Whoever leaves takes what they wrote along.
        await bob.rest()
        await page.until(f"!{NEWEST}.includes('Bob is here')")
        assert GATE in await page.value(NEWEST)

        # A screen reader, and whoever sees little or wants nothing to move.
        names = await page.names()
        assert {("heading", "Headrace"), ("heading", "The river"), ("heading", "Newest posts")} <= names
        roles = {role for role, _ in names}
        assert {
            "banner",
            "main",
            "contentinfo",
            "status",
            "table",
            "columnheader",
            "rowheader",
            "list",
        } <= roles
        assert all(name for role, name in names if role in ("image", "region", "table", "heading", "link"))
        assert await page.value("document.getElementById('said').getAttribute('aria-live')") == "polite"
        assert re.search("commits a second", await page.value("document.getElementById('said').textContent"))
        moving = "getComputedStyle(document.querySelector('.drops:not(.still)') || document.body).animationName"
        await page.prefer(dark=False, still=True)
        assert await page.value(moving) == "none"

        for dark in (False, True):
            for width in (1280, 375):
                await page.open(f"{network.ops_url}/", width=width, dark=dark)
                await page.until(f"{NEWEST}.includes({GATE!r})")
                assert await page.value("document.documentElement.scrollWidth") <= width
                assert await page.value("innerWidth") == width
                assert await contrast(page) >= 4.5, (dark, width)
                await picture(page, f"river-{width}-{'dark' if dark else 'light'}")

        assert page.complaints == []
        assert {address for address in page.asked if not address.startswith((network.ops_url, "data:,"))} == set()


async def test_only_the_pages_own_script_runs(network: Network) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{network.ops_url}/") as answer:
        text, policy = await answer.text(), answer.headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert re.findall(r"(?:src|href)=\"(?!data:,|/metrics|/status)[^\"]*\"", text) == []


async def test_an_answer_is_bounded(network: Network) -> None:
    async with aiohttp.ClientSession() as session:
        writer = await Writer(network, session, "carol").join()
        for number in range(12):
            await writer.write(f"{number} " + "\u6c34" * 290)
        async with session.get(f"{network.ops_url}/river") as answer:
            body, found = await answer.read(), await answer.json()

    assert len(body) < 32_768
    assert len(found["posts"]) <= 8
    assert len(found["endpoints"]) <= 8
    assert all(len(post["text"]) <= 600 for post in found["posts"])


@pytest.mark.parametrize("path", ["/", "/river"])
async def test_a_process_without_a_river_has_no_page(path: str) -> None:
    app = build_ops_app(registry=CollectorRegistry(), status=dict, ready=lambda: True, version="0")
    async with TestClient(TestServer(app)) as client, client.get(path) as answer:
        assert answer.status == 404
