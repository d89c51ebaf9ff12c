"""Names that mean one address when a host is looked at and another when it is connected to; redirects that lead inside.

Real sockets: 127.0.0.2 stands for the public internet and is all that the guard lets through, 127.0.0.1 for what must
not be reached. The victim counts who connects.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
from aiohttp import ThreadedResolver, web
from aiohttp.abc import AbstractResolver, ResolveResult

from ingest.identity.reasons import IdentityReason
from ingest.identity.ssrf import AddressGuard
from ingest.relay.outgoing import Outgoing
from ingest.relay.reasons import RelayReason
from schemas.errors import Refused
from tests.relay.world.people import did_of

PUBLIC, INSIDE = "127.0.0.2", "127.0.0.1"
NAME = "pds.example.com"


class Turning(AbstractResolver):
    """`answers[name]` are taken one after the other, the last for good; other names are the system's."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[str, ...]]] = {}
        self.asked: Counter[str] = Counter()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked[host] += 1
        if host not in self.answers:
            return await ThreadedResolver().resolve(host, port, family)
        turns = self.answers[host]
        addresses = turns.pop(0) if len(turns) > 1 else turns[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        pass


class Net:
    """A host on the outside, a victim on the inside at the same port, and a relay between them."""

    def __init__(self) -> None:
        self.resolver = Turning()
        self.outgoing = Outgoing(AddressGuard((ip_network(f"{PUBLIC}/32"),)), private=True, resolver=self.resolver)
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = described
        self.reached = 0
        self.asked = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{NAME}:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        answer = await self.answer(request)
        answer.force_close()  # what is kept alive needs no second look at its name
        return answer

    async def reason(self, work: Awaitable[object]) -> str:
        with pytest.raises(Refused) as refused:
            await work
        return refused.value.reason.value

    async def stream(self) -> bytes:
        async with self.outgoing.subscribe(self.url, 0, upstream=False) as frames:
            return await anext(frames)

    async def repo(self) -> list[bytes]:
        return [piece async for piece in self.outgoing.pieces(self.url, did_of(1))]


async def described(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"did": f"did:web:{NAME}", "availableUserDomains": []})


@asynccontextmanager
async def network() -> AsyncIterator[Net]:
    net = Net()

    async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        net.reached += 1
        writer.close()

    app = web.Application()
    app.router.add_get("/{rest:.*}", net.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        while True:  # a port that is free at both
            site = web.TCPSite(runner, PUBLIC, 0)
            await site.start()
            net.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            try:
                victim = await asyncio.start_server(connected, INSIDE, net.port)
            except OSError:
                await site.stop()
                continue
            break
        async with victim:
            yield net
    finally:
        await net.outgoing.close()
        await runner.cleanup()
    assert net.reached == 0, "the inside was reached"


async def test_the_address_that_is_connected_to_is_judged_and_not_the_one_that_was_looked_at() -> None:
    async with network() as net:
        net.resolver.answers[NAME] = [(PUBLIC,), (INSIDE,)]
        await net.outgoing.check_pds(net.url)  # as it shows itself to requestCrawl
        assert net.asked == 1
        assert await net.reason(net.stream()) == IdentityReason.BLOCKED
        assert await net.reason(net.repo()) == IdentityReason.BLOCKED
        assert await net.reason(net.outgoing.check_pds(net.url)) == IdentityReason.BLOCKED
        net.resolver.answers[NAME] = [(PUBLIC,)]
        await net.outgoing.check_pds(net.url)  # nothing of it is remembered

        assert net.resolver.asked[NAME] == 5
        assert net.asked == 2


async def test_a_second_address_of_a_name_is_judged_too() -> None:
    """What is tried when the first address refuses connections."""
    async with network() as net:
        net.resolver.answers[NAME] = [("127.0.0.3", INSIDE)]
        assert await net.reason(net.stream()) == IdentityReason.BLOCKED
        net.resolver.answers[NAME] = [(INSIDE, PUBLIC)]
        await net.outgoing.check_pds(net.url)  # the one that is not let through takes nothing from the other
        assert net.asked == 1


ODD = ("http://2130706433:{port}/", "http://127.1:{port}/")
INWARD = (
    "http://inside.example.com:{port}/",
    "http://{inside}:{port}/",
    "//{inside}:{port}/",
    "http://localhost:{port}/",
    *ODD,
    "http://0x7f.1:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://user:secret@{inside}:{port}/",
    "http://0.0.0.0:{port}/",
    "http://169.254.169.254/latest/meta-data/",
)


@pytest.mark.parametrize("location", INWARD)
async def test_a_redirected_repo_is_not_fetched_from_inside(location: str) -> None:
    async with network() as net:
        net.resolver.answers |= {NAME: [(PUBLIC,)], "inside.example.com": [(INSIDE,)]}
        to = location.format(port=net.port, inside=INSIDE)
        net.answer = lambda _request: moved(to)

        reason = await net.reason(net.repo())
        # Numbers that no DNS name can be are refused before there is an address to judge.
        assert reason == (RelayReason.REPO_UNREACHABLE if location in ODD else IdentityReason.BLOCKED)
        assert net.asked == 1


ELSEWHERE = {
    "file:///etc/passwd": IdentityReason.SCHEME,
    "ftp://pds.example.com/": IdentityReason.SCHEME,
    "gopher://127.0.0.1:70/": IdentityReason.SCHEME,
    "javascript:alert(1)": IdentityReason.SCHEME,
    "http://[bad": RelayReason.REPO_UNREACHABLE,
    "http://": RelayReason.HOST_REDIRECTS,  # to itself, for ever
    "": RelayReason.HOST_REDIRECTS,
    "/xrpc/com.atproto.sync.getRepo": RelayReason.HOST_REDIRECTS,
    "/" + "a" * 9_000: RelayReason.REPO_UNREACHABLE,
}


@pytest.mark.parametrize("location", ELSEWHERE, ids=lambda location: location[:30] or "itself")
async def test_a_redirect_that_leads_nowhere_is_refused(location: str) -> None:
    async with network() as net:
        net.resolver.answers[NAME] = [(PUBLIC,)]
        net.answer = lambda _request: moved(location)

        assert await net.reason(net.repo()) == ELSEWHERE[location]
        assert net.asked <= 4


async def test_a_redirect_to_a_name_that_turns_is_judged_at_each_step() -> None:
    async with network() as net:
        net.resolver.answers[NAME] = [(PUBLIC,), (PUBLIC,), (INSIDE,)]
        net.answer = lambda _request: moved(f"{net.url}/next")

        assert await net.reason(net.repo()) == IdentityReason.BLOCKED
        assert net.asked == 2


@pytest.mark.parametrize("status", [300, 304, 305])
async def test_what_is_no_redirect_is_not_followed(status: int) -> None:
    async with network() as net:
        net.resolver.answers[NAME] = [(PUBLIC,)]
        net.answer = lambda _request: moved(f"http://{INSIDE}:{net.port}/", status)

        assert await net.reason(net.repo()) == RelayReason.REPO_STATUS
        assert net.asked == 1


async def test_neither_a_stream_nor_a_description_is_redirected() -> None:
    async with network() as net:
        net.resolver.answers[NAME] = [(PUBLIC,)]
        net.answer = lambda _request: moved(f"{net.url}/next")

        assert await net.reason(net.stream()) == RelayReason.HOST_REDIRECTS
        assert await net.reason(net.outgoing.check_pds(net.url)) == RelayReason.HOST_NO_PDS
        assert net.asked == 2


async def moved(to: str, status: int = 302) -> web.StreamResponse:
    return web.Response(status=status, headers={"Location": to})
