"""A canary against a running network: what it posts shows, is timed and is gone again; what stops it is told apart."""

from __future__ import annotations

import os
import re
import signal
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from headrace.canary import OWED, Canary, Result, Round, ServerAwayError
from headrace.canary_servers import ANSWER_MAX, HttpServers
from tests.support.network import Network
from tests.support.roles import Role

HANDLE = "canary.test"
SECONDS = 120.0


class Looked:
    """A canary's scrape."""

    def __init__(self, role: Role) -> None:
        with urllib.request.urlopen(f"{role.ops}/metrics", timeout=20) as answer:
            self.text = answer.read().decode()

    def value(self, series: str) -> float:
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def rounds(self, result: Result) -> float:
        return self.value(f'headrace_canary_rounds_total{{result="{result.value}"}}')


def until(holds: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < limit, f"not within {SECONDS} s: {what}"
        time.sleep(0.05)


def posts(network: Network) -> list[str]:
    """Those of the canary that are there."""
    query = urllib.parse.urlencode({"repo": HANDLE, "collection": "app.bsky.feed.post"})
    with urllib.request.urlopen(f"{network.url}/xrpc/com.atproto.repo.listRecords?{query}", timeout=20) as answer:
        return [record["uri"] for record in orjson.loads(answer.read())["records"]]


def canary(directory: Path, network: Network, **settings: str) -> Role:
    given = {"canary_pds": network.url, "canary_handle": HANDLE, "canary_seconds": "1", **settings}
    return Role("canary", directory, given)


@pytest.fixture(scope="module")
def flying(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Role]:
    role = canary(tmp_path_factory.mktemp("canary") / "data", network)
    try:
        yield role.start()
    finally:
        role.kill()


def test_what_it_posts_shows_and_is_timed_and_deleted(network: Network, flying: Role) -> None:
    until(lambda: Looked(flying).rounds(Result.SHOWN) >= 2, "two posts showed")
    found = Looked(flying)
    assert flying.stop() == 0

    assert found.value("headrace_canary_visible_seconds_count") >= 2
    assert found.value("headrace_canary_visible_seconds_sum") > 0
    assert found.value("headrace_canary_shown_timestamp_seconds") <= time.time()
    assert len(posts(network)) <= 1  # it may have been told to end between a post and its deletion
    password = (flying.directory / "canary_password").read_text()
    assert password not in flying.log.read_text() + found.text
    assert (flying.directory / "canary_password").stat().st_mode & 0o077 == 0


def test_what_a_dead_one_left_is_deleted_by_the_next(network: Network, flying: Role) -> None:
    flying.start()
    until(lambda: posts(network) != [], "a post is there")
    flying.kill()
    left = posts(network)
    flying.start()
    until(lambda: Looked(flying).rounds(Result.SHOWN) >= 1, "the next one flies")

    until(lambda: not set(left) & set(posts(network)), "what was left is deleted")


def test_a_pds_that_stalls_is_told_and_so_is_its_return(network: Network, flying: Role) -> None:
    os.kill(network.pid, signal.SIGSTOP)
    try:
        until(lambda: Looked(flying).rounds(Result.UNWRITTEN) + Looked(flying).rounds(Result.UNREAD) >= 1, "it is told")
    finally:
        os.kill(network.pid, signal.SIGCONT)
    before = Looked(flying).rounds(Result.SHOWN)

    until(lambda: Looked(flying).rounds(Result.SHOWN) > before, "it flies again")


@pytest.mark.usefixtures("flying")
def test_a_handle_that_is_somebody_elses_stops_it_with_the_cure(network: Network, tmp_path: Path) -> None:
    """Another password for an account that is there: nobody's guess may go on for ever."""
    other = canary(tmp_path / "data", network).begin()

    assert other.wait() == 1
    assert "set another canary_handle" in other.tail()
    assert (tmp_path / "data" / "canary_password").read_text() not in other.tail()


# --- rounds, of servers that do as a test says ---


class Written:
    """`headrace.canary.Servers`. What is away says so; `shown` are the posts that readers see."""

    def __init__(self) -> None:
        self.posts: list[str] = []
        self.hidden = False
        self.away: set[str] = set()
        self.asked = 0
        self.made = 0

    def _ask(self, call: str) -> None:
        self.asked += 1
        if call in self.away:
            raise ServerAwayError(f"{call}: away")

    async def write(self) -> str:
        self.made += 1
        if "answer" in self.away:
            self.posts.append(f"at://a/b/{self.made}")
        self._ask("answer")
        self._ask("write")
        self.posts.append(f"at://a/b/{self.made}")
        return self.posts[-1]

    async def shows(self, uri: str) -> bool:
        self._ask("shows")
        return uri in self.posts and not self.hidden

    async def delete(self, uri: str) -> None:
        self._ask("delete")
        self.posts.remove(uri)

    async def left(self) -> list[str]:
        self._ask("left")
        return self.posts[:100]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.0)


def made(servers: Written, ended: Callable[[Round], None] = lambda _: None) -> Canary:
    clock = Clock()
    return Canary(servers, ended, every=15.0, wait=30.0, clock=clock, sleep=clock.sleep)


async def test_a_post_that_does_not_show_is_given_up_after_bounded_questions() -> None:
    servers = Written()
    servers.hidden = True

    found = await made(servers).round()

    assert found.result is Result.UNSHOWN
    assert 30.0 <= found.seconds < 32.0
    assert servers.asked < 100


@pytest.mark.parametrize(
    ("away", "result"), [("write", Result.UNWRITTEN), ("answer", Result.UNWRITTEN), ("shows", Result.UNREAD)]
)
async def test_who_is_away_is_told_apart(away: str, result: Result) -> None:
    servers = Written()
    servers.away = {away}

    assert (await made(servers).round()).result is result


async def test_what_nobody_was_told_of_is_deleted_too() -> None:
    servers = Written()
    flying = made(servers)
    await flying.tidy()
    servers.away = {"answer"}
    await flying.round()
    servers.away = set()
    left = list(servers.posts)
    await flying.round()
    await flying.tidy()

    assert len(left) == 1
    assert servers.posts == []


async def test_what_cannot_be_deleted_is_owed_and_the_debt_is_bounded() -> None:
    servers = Written()
    servers.away = {"delete"}
    flying = made(servers)
    for _ in range(3 * OWED):
        await flying.round()
        await flying.tidy()
    owed = len(flying._owed)
    servers.away = set()
    for _ in range(4):  # a page of what is left at a time
        flying._ask_what_is_left = True
        await flying.tidy()

    assert owed == OWED
    assert servers.posts == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"{"),
        (200, b"[]"),
        (200, b'{"posts": 7}'),
        (200, b'{"posts": [{}]}'),
        (200, b'{"posts": ["' + b"x" * ANSWER_MAX + b'"]}'),
        (302, b""),
        (500, b"{}"),
        (429, b"{}"),
        (400, b'{"error": "InvalidRequest"}'),
    ],
)
async def test_an_appview_that_answers_nonsense_is_away(status: int, body: bytes) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers={"Location": "/elsewhere"} if status == 302 else {})

    app = web.Application()
    app.router.add_get("/xrpc/app.bsky.feed.getPosts", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    servers = HttpServers(url, url, HANDLE, "a password")
    try:
        with pytest.raises(ServerAwayError, match=r"app\.bsky\.feed\.getPosts"):
            await servers.shows("at://a/b/c")
    finally:
        await servers.close()
        await runner.cleanup()
