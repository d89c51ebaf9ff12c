"""The hub and subscribeRepos over a real log and a real websocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from prometheus_client import CollectorRegistry

from api.com.atproto.sync import subscribe_repos
from api.firehose import FirehoseHub, TooSlowError
from api.metrics import HttpMetrics
from api.xrpc import Ctx, Services
from ingest.log_sqlite.log import SqliteLog
from schemas import cbor
from schemas.entries import Account, Identity
from schemas.syntax import Did, Handle

ALICE = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
STRANGER = Did("did:plc:zzzzzzzzzzzzzzzzzzzzzzzz")


@dataclass
class Stage:
    log: SqliteLog
    hub: FirehoseHub
    server: RawTestServer
    session: aiohttp.ClientSession
    metrics: HttpMetrics

    async def say(self, count: int, did: Did = ALICE) -> None:
        for number in range(count):
            await self.log.append(Account(did, "deactivated" if number % 2 else "active"))

    async def subscribed(self) -> None:
        while self.metrics.subscribers._value.get() == 0:  # noqa: ASYNC110 - a gauge has no event
            await asyncio.sleep(0)

    @asynccontextmanager
    async def subscribe(self, cursor: int | None = None) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        query = "" if cursor is None else f"?cursor={cursor}"
        async with self.session.ws_connect(self.server.make_url(f"/{query}")) as socket:
            yield socket


@asynccontextmanager
async def stage(tmp_path: Path, *, ring_frames: int = 64, first_seq: int = 1) -> AsyncIterator[Stage]:
    log = await SqliteLog.open(tmp_path / "log.sqlite", first_seq=first_seq)
    hub = FirehoseHub(log, lambda did: did != STRANGER, ring_frames=ring_frames)
    metrics = HttpMetrics(CollectorRegistry())
    services = Services(firehose=hub, metrics=metrics)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        params = {name: int(value) for name, value in request.query.items()}
        answer = await subscribe_repos.handle(
            Ctx("com.atproto.sync.subscribeRepos", services, params=params, request=request)
        )
        assert isinstance(answer, web.StreamResponse)
        return answer

    follow = asyncio.ensure_future(hub.run())
    server = RawTestServer(handle)
    await server.start_server()
    try:
        async with aiohttp.ClientSession() as session:
            yield Stage(log, hub, server, session, metrics)
    finally:
        hub.close()
        follow.cancel()
        await asyncio.gather(follow, return_exceptions=True)
        await server.close()
        await log.close()


@pytest.fixture
async def on_stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as ready:
        yield ready


async def frame(socket: aiohttp.ClientWebSocketResponse) -> tuple[dict, dict]:
    async with asyncio.timeout(10):
        raw = await socket.receive_bytes()
    at = raw.index(b"\xa1") if raw[0] == 0xA1 else 0
    for end in range(1, 64):  # the header is one short map; its end is where both halves decode
        try:
            return cbor.decode(raw[at:end]), cbor.decode(raw[end:])
        except cbor.CborRefused:
            continue
    raise AssertionError(raw)


async def seqs(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[int]:
    return [(await frame(socket))[1]["seq"] for _ in range(count)]


async def test_without_a_cursor_only_what_comes_next_is_sent(on_stage: Stage) -> None:
    await on_stage.say(3)

    async with on_stage.subscribe() as socket:
        first = asyncio.ensure_future(frame(socket))
        await on_stage.subscribed()
        await on_stage.say(1)
        header, body = await first

    assert header == {"op": 1, "t": "#account"}
    assert body["seq"] == 4
    assert body["did"] == ALICE


async def test_a_cursor_is_exclusive(on_stage: Stage) -> None:
    await on_stage.say(5)

    async with on_stage.subscribe(2) as socket:
        assert await seqs(socket, 3) == [3, 4, 5]


async def test_cursor_zero_is_the_whole_window_and_goes_on_live(on_stage: Stage) -> None:
    await on_stage.say(3)

    async with on_stage.subscribe(0) as socket:
        assert await seqs(socket, 3) == [1, 2, 3]
        await on_stage.say(2)
        assert await seqs(socket, 2) == [4, 5]


async def test_a_cursor_in_the_future_is_an_error_and_the_end(on_stage: Stage) -> None:
    await on_stage.say(1)

    async with on_stage.subscribe(2) as socket:
        header, body = await frame(socket)
        end = await socket.receive(timeout=10)

    assert header == {"op": -1}
    assert body == {"error": "FutureCursor", "message": "Cursor in the future."}
    assert end.type is aiohttp.WSMsgType.CLOSE


async def test_the_newest_seq_as_cursor_is_not_in_the_future(on_stage: Stage) -> None:
    await on_stage.say(2)

    async with on_stage.subscribe(2) as socket:
        waiting = asyncio.ensure_future(seqs(socket, 1))
        await on_stage.subscribed()
        await on_stage.say(1)
        assert await waiting == [3]


async def test_a_cursor_before_the_window_is_told_and_given_the_whole_window(tmp_path: Path) -> None:
    async with stage(tmp_path, first_seq=100) as ready:
        await ready.say(2)

        async with ready.subscribe(5) as socket:
            header, body = await frame(socket)
            assert header == {"op": 1, "t": "#info"}
            assert body["name"] == "OutdatedCursor"
            assert await seqs(socket, 2) == [100, 101]


async def test_a_cursor_just_before_the_oldest_event_missed_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, first_seq=100) as ready:
        await ready.say(1)

        async with ready.subscribe(99) as socket:
            assert await seqs(socket, 1) == [100]


async def test_accounts_that_are_not_hosted_here_are_not_shown(on_stage: Stage) -> None:
    await on_stage.say(2, STRANGER)
    await on_stage.log.append(Identity(ALICE, Handle("alice.test")))

    async with on_stage.subscribe(0) as socket:
        assert await seqs(socket, 1) == [3]
        await on_stage.say(1, STRANGER)
        await on_stage.say(1)
        header, body = await frame(socket)

    assert (header["t"], body["seq"]) == ("#account", 5)


async def test_a_live_subscriber_behind_the_ring_is_too_slow(tmp_path: Path) -> None:
    async with stage(tmp_path, ring_frames=4) as ready:
        with ready.hub.subscription():
            await ready.say(3)
            assert await ready.hub.live(2, 100) == ([(await ready.log.read_firehose(2, 1))[0].frame()], 3)
            await ready.say(20)
            await ready.hub.live(22, 100)

            with pytest.raises(TooSlowError):
                await ready.hub.live(3, 100)
            assert not ready.hub.is_live(3)


async def test_a_ring_that_turned_over_many_times_gives_each_frame_once(tmp_path: Path) -> None:
    async with stage(tmp_path, ring_frames=4) as ready:
        seen: list[bytes] = []
        with ready.hub.subscription():
            after = 0
            for _ in range(10):
                await ready.say(3)
                while after < ready.hub.bounds()[1]:
                    frames, after = await ready.hub.live(after, 2)
                    seen += frames
        events = await ready.log.read_firehose(0, 100)

    assert seen == [event.frame() for event in events]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("cursor", [0, 1])
async def test_who_asks_for_a_past_of_which_nothing_is_kept_is_sent_what_comes(tmp_path: Path, cursor: int) -> None:
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    for status in ("deactivated", "active", "deactivated"):
        await log.append(Account(ALICE, status))
    await log.truncate(commits={}, records={}, now=2**52)
    await log.close()

    async with stage(tmp_path) as ready, ready.subscribe(cursor) as socket:
        assert ready.hub.bounds()[:2] == (0, 3)
        if cursor:
            assert (await frame(socket))[1]["name"] == "OutdatedCursor"
        await ready.subscribed()
        await ready.say(1)
        assert await seqs(socket, 1) == [4]


async def test_many_subscribers_see_the_same_bytes(on_stage: Stage) -> None:
    async with on_stage.subscribe(0) as one, on_stage.subscribe(0) as two:
        await on_stage.say(3)
        first = [await one.receive_bytes(timeout=10) for _ in range(3)]
        second = [await two.receive_bytes(timeout=10) for _ in range(3)]

    assert first == second


async def test_a_plain_request_is_told_to_upgrade(on_stage: Stage) -> None:
    async with on_stage.session.get(on_stage.server.make_url("/")) as response:
        assert response.status == 426


async def test_closing_the_hub_ends_its_subscribers(on_stage: Stage) -> None:
    async with on_stage.subscribe(0) as socket:
        await on_stage.say(1)
        assert await seqs(socket, 1) == [1]
        on_stage.hub.close()
        end = await socket.receive(timeout=10)

    assert end.type is aiohttp.WSMsgType.CLOSE
