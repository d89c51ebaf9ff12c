"""Hosts that drip byte by byte, flood what costs an answer, or never come to an end: let go, by a name, and bounded.

Raw TCP on loopback. What bounds memory is asserted as what the host could get rid of before it was cut off.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha1
from pathlib import Path

import pytest
from aiohttp import web

from ingest.identity.ssrf import LOOPBACK, AddressGuard
from ingest.relay.outgoing import Outgoing
from ingest.relay.patience import Pace, Patience
from ingest.relay.reasons import RelayReason
from schemas.errors import Refused
from tests.relay.world.host import Host
from tests.relay.world.people import People, did_of
from tests.relay.world.relay import World, until

HASTY = Patience(connect=0.4, answer=0.4, ping=0.2, mute=0.6, stall=0.4)
DRIP = 0.01  # seconds between two bytes
MOST = 32 << 20  # bytes that a host may get rid of; sockets alone hold some megabytes

Answer = Callable[["Speaker"], Awaitable[None]]


class Speaker:
    """One connection whose request has been read."""

    def __init__(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self.writer = writer
        self.sent = 0

    async def say(self, data: bytes) -> None:
        """ConnectionError once the other side has gone; MemoryError when it takes more than it may."""
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)  # a writer that never waits would leave its reader no turn
        if self.writer.is_closing():
            raise ConnectionResetError
        self.sent += len(data)
        if self.sent > MOST:
            raise MemoryError(f"{self.sent} bytes were taken")

    async def drip(self, data: bytes) -> None:
        for at in range(len(data)):
            await self.say(data[at : at + 1])
            await asyncio.sleep(DRIP)

    async def upgrade(self) -> None:
        lines = self.request.split(b"\r\n")
        key = next(line for line in lines if line.lower().startswith(b"sec-websocket-key:")).split(b":", 1)[1].strip()
        accept = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        await self.say(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )


@asynccontextmanager
async def speaking(answer: Answer) -> AsyncIterator[str]:
    """A host that answers so; its URL. What it made of it that was no lost connection is raised at the end."""
    failures: list[BaseException] = []
    under_way: set[asyncio.Task[None] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.add(asyncio.current_task())
        try:
            await answer(Speaker(await reader.readuntil(b"\r\n\r\n"), writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except MemoryError as error:
            failures.append(error)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            under_way.discard(asyncio.current_task())
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(under_way):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in under_way if task is not None), return_exceptions=True)
    assert not failures, failures


@asynccontextmanager
async def outgoing(patience: Patience = HASTY) -> AsyncIterator[Outgoing]:
    made = Outgoing(AddressGuard(LOOPBACK), private=True, patience=patience)
    try:
        yield made
    finally:
        await made.close()


async def dripped_handshake(speaker: Speaker) -> None:
    await speaker.drip(b"HTTP/1.1 101 Switching Protocols\r\n" + b"X-A: b\r\n" * 100_000)


async def endless_headers(speaker: Speaker) -> None:
    await speaker.say(b"HTTP/1.1 200 OK\r\n")
    while True:
        await speaker.say(b"X-A: " + b"b" * 4_000 + b"\r\n")


async def one_endless_header(speaker: Speaker) -> None:
    await speaker.say(b"HTTP/1.1 200 OK\r\nX-A: ")
    while True:
        await speaker.say(b"b" * 65_536)


async def early_hints_for_ever(speaker: Speaker) -> None:
    while True:
        await speaker.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(DRIP)


async def never_a_word(_speaker: Speaker) -> None:
    await asyncio.get_running_loop().create_future()


HANDSHAKES = (dripped_handshake, endless_headers, one_endless_header, early_hints_for_ever, never_a_word)


@pytest.mark.parametrize("answer", HANDSHAKES, ids=lambda answer: answer.__name__)
async def test_a_handshake_ends_in_time_and_in_little_room(answer: Answer) -> None:
    async with speaking(answer) as url, outgoing() as relay:
        with pytest.raises(Refused) as stream:
            async with relay.subscribe(url, 0, upstream=False):
                pytest.fail("there is no stream")
        with pytest.raises(Refused) as asked:
            await relay.check_pds(url)

    assert stream.value.reason is RelayReason.HOST_UNREACHABLE
    assert asked.value.reason is RelayReason.HOST_UNREACHABLE


async def dripped_frame(speaker: Speaker) -> None:
    await speaker.upgrade()
    await speaker.say(b"\x82\x7e\xff\x00")
    await speaker.drip(bytes(65_280))


async def dripped_fragments(speaker: Speaker) -> None:
    """A message in pieces of a byte with pings between them: something whole is always heard, but no message."""
    await speaker.upgrade()
    await speaker.say(b"\x02\x01a")
    while True:
        await speaker.say(b"\x00\x01a\x89\x00")
        await asyncio.sleep(0.02)


async def answers_of_pings_alone(speaker: Speaker) -> None:
    await speaker.upgrade()
    while True:
        await speaker.say(b"\x8a\x00")
        await asyncio.sleep(0.05)


async def many_pings(speaker: Speaker) -> None:
    await speaker.upgrade()
    while True:
        await speaker.say(b"\x89\x7d" + bytes(125))


async def text(speaker: Speaker) -> None:
    await speaker.upgrade()
    while True:
        await speaker.say(b"\x81\x04text")


async def compressed_though_not_asked(speaker: Speaker) -> None:
    await speaker.upgrade()
    await speaker.say(b"\xc2\x04" + bytes(4))
    await never_a_word(speaker)


async def fragments_without_end(speaker: Speaker) -> None:
    await speaker.upgrade()
    await speaker.say(b"\x02\x00")
    while True:
        await speaker.say(b"\x00\x7e\x80\x00" + bytes(32_768))


async def lengths_beyond_all(speaker: Speaker) -> None:
    await speaker.upgrade()
    await speaker.say(b"\x82\x7f" + b"\x7f" + b"\xff" * 7)
    while True:
        await speaker.say(bytes(65_536))


STREAMS = {
    dripped_frame: "host_silent",
    dripped_fragments: "host_silent",
    answers_of_pings_alone: "host_silent",
    many_pings: "host_frames",
    text: "host_frames",
    compressed_though_not_asked: "host_closed",
    fragments_without_end: "frame_size",
    lengths_beyond_all: "frame_size",
}


async def first(relay: Outgoing, url: str) -> bytes:
    async with relay.subscribe(url, 0, upstream=False) as frames:
        return await anext(frames)


@pytest.mark.parametrize("answer", STREAMS, ids=lambda answer: answer.__name__)
async def test_a_stream_that_says_nothing_whole_is_given_up(answer: Answer) -> None:
    async with speaking(answer) as url, outgoing() as relay:
        with pytest.raises(Refused) as refused:
            await first(relay, url)

    assert refused.value.reason == STREAMS[answer]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.ipld.car\r\n"


async def dripped_car(speaker: Speaker) -> None:
    await speaker.say(HEAD + b"Content-Length: 100000\r\n\r\n")
    await speaker.drip(bytes(100_000))


async def dripped_head(speaker: Speaker) -> None:
    await speaker.drip(HEAD + b"X-A: b\r\n" * 10_000)


async def headers_of_chunks_for_ever(speaker: Speaker) -> None:
    """Bytes come, and none of them is of the body."""
    await speaker.say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;")
    while True:
        await speaker.say(b"a" * 100)
        await asyncio.sleep(DRIP)


async def trailers_for_ever(speaker: Speaker) -> None:
    await speaker.say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
    while True:
        await speaker.say(b"X-A: b\r\n")
        await asyncio.sleep(DRIP)


async def whole(relay: Outgoing, url: str, take: Callable[[bytes], None]) -> None:
    async for piece in relay.pieces(url, did_of(1)):
        take(piece)


BODIES = (dripped_car, dripped_head, headers_of_chunks_for_ever, trailers_for_ever, never_a_word)


@pytest.mark.parametrize("answer", BODIES, ids=lambda answer: answer.__name__)
async def test_a_repo_that_drips_is_let_go(answer: Answer) -> None:
    came: list[bytes] = []
    async with speaking(answer) as url, outgoing() as relay:
        with pytest.raises(Refused) as refused:
            await whole(relay, url, came.append)

    assert refused.value.reason in {RelayReason.REPO_SLOW, RelayReason.REPO_UNREACHABLE}
    assert sum(map(len, came)) < 10_000


def test_a_repo_at_the_least_pace_is_taken_and_a_slow_reader_harms_no_host() -> None:
    patience = Patience(stall=30.0, pace=1_000.0)
    steady, slow = Pace(patience), Pace(patience)
    for _ in range(10_000):
        steady.came(1_000, 1.0)
        assert steady.left >= 30.0 - 1e-6
    for _ in range(61):
        slow.came(500, 1.0)

    assert slow.left < 0
    assert Pace(patience).left == 30.0  # whatever passes between two pieces is not counted


async def test_a_host_that_drips_its_repos_delays_nobody_elses(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as slow, Host(people) as quick:
        members = [slow.add(number) for number in range(1, 7)]
        other = quick.add(100)

        async def dripping(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse()
            await answer.prepare(request)
            for byte in slow.members[request.query["did"]].car():
                await answer.write(bytes((byte,)))
                await asyncio.sleep(DRIP)
            return answer

        slow.repo = dripping
        await slow.say(*(member.write() for member in members))
        await quick.say(other.write())
        async with World(tmp_path, people, crawl=(slow.name, quick.name), patience=Patience(stall=0.4)) as world:
            await until(lambda: all(world.log.head(member.did) for member in (*members, other)))
            for member in members:
                member.write()
            await slow.say(*(member.write(10) for member in members))
            await until(lambda: slow.asked["getRepo"] >= 2)
            other.write()
            await quick.say(other.write())
            await until(lambda: world.log.head(other.did).rev == other.rev)  # type: ignore[union-attr]
            # The two at once that a host may have; then it is left alone with all its accounts.
            await until(lambda: world.relay.resync.failures["repo_slow"] >= 2)

            assert set(world.relay.resync.failures) == {"repo_slow"}
            assert len(world.relay.resync) == len(members)
