"""subscribeRepos and those who misuse it, over the whole app."""

from __future__ import annotations

import asyncio
import io

import aiohttp
import orjson
import pytest

from api.com.atproto.sync import subscribe_repos
from ingest.repo.frame import decode_frame
from schemas import cbor
from schemas.limits import SEQ_MAX
from tests.support.hostile import REPO, SYNC, frames, raw, record_of, untouched

SUBSCRIBE = f"{SYNC}.subscribeRepos"


def url(house, query: str = "") -> str:
    return f"{house.network.addresses['xrpc']}/xrpc/{SUBSCRIBE}{query}"


def control(frame: bytes) -> tuple[dict, dict]:
    """A frame that is no message about a repo: header and body."""
    for end in range(1, 64):
        try:
            return cbor.decode(frame[:end]), cbor.decode(frame[end:])
        except cbor.CborRefused:
            continue
    raise AssertionError(frame)


async def test_each_cursor_gets_its_part_of_the_stream(house) -> None:
    alice = await house.join("alice")
    for n in range(5):
        await house.say(alice, str(n))
    everything = await frames(house, 8)

    seqs = [decode_frame(frame).seq for frame in everything]
    assert seqs == list(range(1, 9))
    assert await frames(house, 8, 0) == await frames(house, 8, -1) == everything
    assert await frames(house, 5, 3) == everything[3:]
    assert await frames(house, 1, 7) == everything[7:]
    async with house.session.ws_connect(url(house)) as live, house.session.ws_connect(url(house, "?cursor=8")) as end:
        # Both wait for what comes.
        async with asyncio.timeout(10):
            while b"headrace_firehose_subscribers 2.0" not in await metrics(house):  # noqa: ASYNC110 - a gauge has no event
                await asyncio.sleep(0)
        await house.say(alice, "news")
        assert decode_frame(await live.receive_bytes(timeout=10)).seq == 9
        assert decode_frame(await end.receive_bytes(timeout=10)).seq == 9


async def metrics(house) -> bytes:
    async with house.session.get(f"{house.network.addresses['ops']}/metrics") as response:
        return await response.read()


@pytest.mark.parametrize("cursor", [10, 1_000, SEQ_MAX])
async def test_a_cursor_in_the_future_is_told_and_cut(house, cursor: int) -> None:
    await house.join("alice")

    async with house.session.ws_connect(url(house, f"?cursor={cursor}")) as socket:
        header, body = control(await socket.receive_bytes(timeout=10))
        end = await socket.receive(timeout=10)

    assert (header, body["error"]) == ({"op": -1}, "FutureCursor")
    assert end.type is aiohttp.WSMsgType.CLOSE


@pytest.mark.parametrize("cursor", ["x", "1.5", "1e3", "0x10", str(2**63 - 1), str(2**64), "9" * 400, "null", "%00"])
async def test_a_cursor_that_is_no_number_is_answered_and_the_stream_goes_on(house, cursor: str) -> None:
    alice = await house.join("alice")

    async with untouched(house, alice):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await house.session.ws_connect(url(house, f"?cursor={cursor}"))
        assert refused.value.status == 400
    assert len(await frames(house, 3)) == 3


async def test_who_is_no_websocket_or_talks_back_is_cut_alone(house) -> None:
    alice = await house.join("alice")

    async with untouched(house, alice):
        async with house.session.get(url(house)) as response:
            assert response.status == 426
        assert (await house.post(SUBSCRIBE, {})).error == (400, "InvalidRequest")
        upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
        answer = await raw(house, f"GET /xrpc/{SUBSCRIBE} HTTP/1.1\r\nHost: x\r\n".encode() + upgrade + b"\r\n")
        assert answer.split(b" ", 2)[1] in (b"400", b"426")
        async with house.session.ws_connect(url(house)) as socket:
            await socket.send_bytes(b"x" * 70_000)
            end = await socket.receive(timeout=10)
            assert end.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        async with house.session.ws_connect(url(house, "?cursor=0")) as socket:
            for _ in range(100):
                await socket.send_str("hello?")
            assert decode_frame(await socket.receive_bytes(timeout=10)).seq == 1


async def test_a_subscriber_that_takes_nothing_is_told_and_cut_and_holds_up_nobody(house, monkeypatch) -> None:
    monkeypatch.setattr(subscribe_repos, "_SEND_SECONDS", 0.2)
    alice = await house.join("alice")
    address = house.network.addresses["xrpc"].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(address[0], int(address[1]), limit=1_024)
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(
        f"GET /xrpc/{SUBSCRIBE}?cursor=0 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".encode()
        + key
        + b"\r\n"
    )
    assert (await reader.readline()).split()[1] == b"101"
    body = orjson.dumps({"repo": alice.did, "collection": "com.example.big", "record": record_of(900_000)})

    writes = 0
    while b'headrace_firehose_cut_subscribers_total{reason="stalled"} 1.0' not in await metrics(house):
        answer = await house.post(
            f"{REPO}.createRecord", data=io.BytesIO(body), headers={**alice.auth, "Content-Type": "application/json"}
        )
        assert answer.status == 200
        writes += 1
        assert writes < 60, "the subscriber is still there"

    writer.close()
    assert len(await frames(house, 3 + writes)) == 3 + writes


async def test_there_is_room_for_so_many_subscribers_and_no_more(house, monkeypatch) -> None:
    monkeypatch.setattr(subscribe_repos, "SUBSCRIBERS_MAX", 3)
    await house.join("alice")
    sockets = [await house.session.ws_connect(url(house, "?cursor=0")) for _ in range(3)]
    for socket in sockets:
        await socket.receive_bytes(timeout=10)

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await house.session.ws_connect(url(house))

    assert refused.value.status == 503
    for socket in sockets:
        await socket.close()
