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
from xxhash import xxh64_intdigest

from api.com.atproto.sync import subscribe_repos
from api.firehose import FirehoseHub, Shard
from api.metrics import HttpMetrics
from api.outlet import Outlet, message
from api.xrpc import Ctx, Services
from ingest.log_sqlite.log import SqliteLog
from schemas import cbor
from schemas.entries import Account, Identity
from schemas.errors import XrpcError
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
        params = {"cursor": int(request.query["cursor"])} if "cursor" in request.query else {}
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


def bytes_of(wire: bytes) -> list[bytes]:
    """The messages of what goes out, each of fewer than 126 bytes."""
    found = []
    while wire:
        assert wire[0] == 0x82
        found.append(wire[2 : 2 + wire[1]])
        wire = wire[2 + wire[1] :]
    return found


async def test_frames_that_left_the_ring_are_read_from_the_log(tmp_path: Path) -> None:
    async with stage(tmp_path, ring_frames=4) as ready:
        with ready.hub.subscription():
            await ready.say(3)
            chunk = await ready.hub.live(2)
            assert (bytes_of(chunk.wire), chunk.reached) == ([(await ready.log.read_firehose(2, 1))[0].frame()], 3)
            await ready.say(20)
            await ready.hub.live(22)

            assert await ready.hub.live(3) == (b"", 0, 3)
            assert not ready.hub.is_live(3)
            past = await ready.hub.past(3, 100)
            assert (past.frames, past.reached) == (20, 23)


async def test_who_had_caught_up_and_falls_out_of_the_ring_is_too_slow(tmp_path: Path, monkeypatch) -> None:
    async with stage(tmp_path, ring_frames=4) as ready:
        written = asyncio.Event()
        release = asyncio.Event()
        write = Outlet.write

        async def held(outlet: Outlet, wire: bytes, seconds: float) -> None:
            written.set()
            await release.wait()
            await write(outlet, wire, seconds)

        monkeypatch.setattr(Outlet, "write", held)
        await ready.say(1)
        async with ready.subscribe(1) as socket:
            await ready.subscribed()
            await ready.say(1)
            await written.wait()
            await ready.say(20)
            while ready.hub.is_live(2):  # noqa: ASYNC110 - until the hub has taken them
                await asyncio.sleep(0)
            release.set()

            assert await seqs(socket, 1) == [2]
            assert (await frame(socket))[1]["error"] == "ConsumerTooSlow"
    assert ready.metrics.subscribers_cut.labels("too_slow")._value.get() == 1


async def test_who_is_still_catching_up_is_not_cut_when_the_ring_goes_by(tmp_path: Path, monkeypatch) -> None:
    async with stage(tmp_path, ring_frames=4) as ready:
        write = Outlet.write
        monkeypatch.setattr(subscribe_repos, "_FIRST_PAGE", 3)
        said = 0

        async def as_fast_as_it_comes(outlet: Outlet, wire: bytes, seconds: float) -> None:
            nonlocal said
            if said < 200:
                said += 20
                await ready.say(20)
            await write(outlet, wire, seconds)

        monkeypatch.setattr(Outlet, "write", as_fast_as_it_comes)
        await ready.say(50)
        async with ready.subscribe(0) as socket:
            assert await seqs(socket, 250) == list(range(1, 251))


async def test_a_ring_that_turned_over_many_times_gives_each_frame_once(tmp_path: Path) -> None:
    async with stage(tmp_path, ring_frames=4) as ready:
        seen: list[bytes] = []
        with ready.hub.subscription():
            after = 0
            for _ in range(10):
                await ready.say(3)
                while after < ready.hub.bounds()[1]:
                    wire, _, after = await ready.hub.live(after)
                    seen += bytes_of(wire)
        events = await ready.log.read_firehose(0, 100)

    assert seen == [event.frame() for event in events]


async def test_subscribers_in_step_are_given_one_chunk(on_stage: Stage) -> None:
    with on_stage.hub.subscription():
        await on_stage.say(3)
        while on_stage.hub.newest < 3:  # noqa: ASYNC110 - until the hub has taken them
            await asyncio.sleep(0)
        one, two = await on_stage.hub.live(0), await on_stage.hub.live(0)

    assert one.frames == 3
    assert one.wire is two.wire


@pytest.mark.parametrize("cursor", [0, None])
async def test_shards_are_disjoint_complete_and_of_the_same_numbers(on_stage: Stage, cursor: int | None) -> None:
    people = [Did(f"did:plc:{letter * 24}") for letter in "abcdefghij"]
    everywhere: list[tuple[int, str]] = []

    async def follow(number: int) -> None:
        query = f"?shard={number}/3" + ("" if cursor is None else f"&cursor={cursor}")
        async with on_stage.session.ws_connect(on_stage.server.make_url(f"/{query}")) as socket:
            mine = [at + 1 for at, did in enumerate(people) if Shard(number, 3).holds(xxh64_intdigest(did.encode()))]
            assert mine
            body = [(await frame(socket))[1] for _ in mine]
            assert [each["seq"] for each in body] == mine
            everywhere.extend((each["seq"], each["did"]) for each in body)

    if cursor is None:
        following = [asyncio.ensure_future(follow(number)) for number in range(3)]
        while on_stage.metrics.subscribers._value.get() < 3:  # noqa: ASYNC110 - a gauge has no event
            await asyncio.sleep(0)
    for did in people:
        await on_stage.say(1, did)
    if cursor is not None:
        following = [asyncio.ensure_future(follow(number)) for number in range(3)]
    await asyncio.gather(*following)

    assert sorted(everywhere) == [(at + 1, did) for at, did in enumerate(people)]


@pytest.mark.parametrize(
    "text", ["", "1", "/", "3/3", "-1/4", "0/0", "1/", "0/1025", "0/99999999", "a/b", "0/4/1", "٠/٤"]
)
def test_a_shard_that_is_none_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(XrpcError, match="expected i/n") as refused:
        Shard.parse(text)

    assert refused.value.status == 400


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
async def test_messages_of_every_size_arrive_whole(size: int) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        data = bytes(size)
        await Outlet(request).write(message(data) + message(b"a" * size, text=True) + message(b"end"), 10)
        await socket.receive()
        return socket

    server = RawTestServer(handle)
    await server.start_server()
    try:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.make_url("/")) as socket:
            assert await socket.receive_bytes(timeout=10) == bytes(size)
            assert await socket.receive_str(timeout=10) == "a" * size
            assert await socket.receive_bytes(timeout=10) == b"end"
    finally:
        await server.close()


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
