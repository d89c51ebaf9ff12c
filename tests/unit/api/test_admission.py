"""Overload over real HTTP: what is admitted is answered, the rest is told at once, and nothing is done for nobody."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import orjson
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from api.admission import KINDS, kind_of
from api.config import ServerConfig
from api.dispatch import Dispatcher
from api.gate import Limits
from api.metrics import HttpMetrics
from api.server import PublicServer
from api.xrpc import Answer, Ctx, Endpoint, Services
from headrace.listeners import address, bind, listen
from schemas import lexicon

CONFIG = ServerConfig(
    hostname="localhost",
    public_url="http://localhost:2583",
    service_did="did:web:localhost",
    appview_did="did:web:localhost",
    handle_domains=(".test",),
    admin_token="hunter2",
    ops_token="ops",
    version="0.1.0",
    blob_limit=1_000_000,
    json_limit=65_536,
)
READ, WRITE = "app.bsky.feed.getLikes", "com.atproto.repo.createRecord"
READ_PATH = f"/xrpc/{READ}?uri=at://alice.test/app.bsky.feed.post/3k"
RECORD = {"repo": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "collection": "app.bsky.feed.like", "record": {"a": 1}}


class Slow:
    """An endpoint that answers when it is told to, and says how many were inside at once."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.inside = self.most = self.begun = self.ended = 0

    async def __call__(self, _: Ctx) -> Answer:
        self.begun += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.go.wait()
        finally:
            self.inside -= 1
        self.ended += 1
        return {"ok": True}


@asynccontextmanager
async def serving(limits: Limits, *endpoints: Endpoint) -> AsyncIterator[aiohttp.ClientSession]:
    registry = CollectorRegistry()
    metrics = HttpMetrics(registry)
    services = Services(config=CONFIG, metrics=metrics)
    dispatcher = Dispatcher(lexicon.load(), services, None, metrics, pds=endpoints, limits=limits)
    public = PublicServer(services, dispatcher, pages={})
    requests: list[web.BaseRequest] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        requests.append(request)
        return await public.handle(request)

    # As headrace/wiring/shared.py does: aiohttp's own test server cancels what its client leaves.
    runner = web.ServerRunner(web.Server(handle, access_log=None))
    bound = bind("127.0.0.1", 0, "port")
    await listen(runner, bound)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(base_url=address(bound), connector=connector) as session:
        session.requests = requests
        session.shed = lambda kind, reason: registry.get_sample_value(
            "headrace_xrpc_shed_requests_total", {"kind": kind, "reason": reason}
        )
        session.waiting = lambda kind: registry.get_sample_value("headrace_xrpc_requests_waiting", {"kind": kind})
        session.may_wait = lambda kind: registry.get_sample_value(
            "headrace_xrpc_waiting_limit_requests", {"kind": kind}
        )
        yield session
    await runner.cleanup()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - sockets tell nobody
            await asyncio.sleep(0.005)


async def read(client: aiohttp.ClientSession) -> tuple[int, str | None, str | None]:
    async with client.get(READ_PATH) as got:
        body = orjson.loads(await got.read())
        return got.status, body.get("error"), got.headers.get("Retry-After")


async def test_ten_times_what_fits_is_told_so_at_once_and_all_that_is_admitted_is_answered() -> None:
    slow = Slow()
    async with serving(Limits(4, 8, 600.0), Endpoint(READ, slow)) as client:
        asking = [asyncio.create_task(read(client)) for _ in range(120)]
        await until(lambda: client.shed("views", "full") == 108)
        assert (slow.inside, client.waiting("views"), client.may_wait("views")) == (4, 8, 8)
        slow.go.set()
        answers = Counter(await asyncio.gather(*asking))

    assert answers == {(200, None, None): 12, (503, "NotEnoughResources", "1"): 108}
    assert (slow.most, slow.begun, slow.ended) == (4, 12, 12)


async def test_endpoints_that_never_wait_are_bounded_in_one_turn_of_the_loop() -> None:
    in_turn = Counter[int]()
    turn = 0

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(next_turn)

    async def at_once(_: Ctx) -> Answer:
        in_turn[turn] += 1
        return {}

    async with serving(Limits(3, 500, 600.0), Endpoint(READ, at_once)) as client:
        asyncio.get_running_loop().call_soon(next_turn)
        answers = Counter(await asyncio.gather(*(read(client) for _ in range(200))))

    assert answers == {(200, None, None): 200}
    assert max(in_turn.values()) <= 3


async def test_who_has_waited_too_long_is_told_so() -> None:
    slow = Slow()
    async with serving(Limits(1, 8, 0.02), Endpoint(READ, slow)) as client:
        first = asyncio.create_task(read(client))
        await until(lambda: slow.inside == 1)
        second = await read(client)
        slow.go.set()
        answered = await first

        assert second == (503, "NotEnoughResources", "1")
        assert client.shed("views", "late") == 1
        assert answered == (200, None, None)


async def test_nothing_is_done_for_a_client_that_left_while_it_waited() -> None:
    slow = Slow()
    async with serving(Limits(1, 8, 600.0), Endpoint(READ, slow)) as client:
        first = asyncio.create_task(read(client))
        await until(lambda: slow.inside == 1)
        second = asyncio.create_task(read(client))
        await until(lambda: client.waiting("views") == 1)
        second.cancel()
        await until(lambda: client.requests[1].transport is None)
        slow.go.set()
        await first
        await until(lambda: client.shed("views", "left") == 1)

    assert (slow.begun, slow.ended) == (1, 1)


async def test_a_write_whose_client_leaves_goes_on_to_its_end() -> None:
    slow = Slow()
    async with serving(Limits(1, 8, 600.0), Endpoint(WRITE, slow)) as client:
        writing = asyncio.create_task(client.post(f"/xrpc/{WRITE}", json=RECORD))
        await until(lambda: slow.inside == 1)
        writing.cancel()
        await until(lambda: client.requests[0].transport is None)
        slow.go.set()
        await until(lambda: slow.ended == 1)


async def test_a_kind_that_is_full_turns_nothing_else_away() -> None:
    slow = Slow()

    async def quick(_: Ctx) -> Answer:
        return {"uri": "at://x", "cid": "y"}

    async with serving(Limits(1, 0, 600.0), Endpoint(READ, slow), Endpoint(WRITE, quick)) as client:
        first = asyncio.create_task(read(client))
        await until(lambda: slow.inside == 1)
        shed = await read(client)
        async with client.post(f"/xrpc/{WRITE}", json=RECORD) as wrote, client.get("/xrpc/_health") as health:
            statuses = (shed[0], wrote.status, health.status)
        slow.go.set()
        await first

    assert statuses == (503, 200, 200)


@asynccontextmanager
async def full() -> AsyncIterator[tuple[aiohttp.ClientSession, Slow]]:
    """Nobody more may read or write: one of each is inside."""
    slow = Slow()
    async with serving(Limits(1, 0, 600.0), Endpoint(READ, slow), Endpoint(WRITE, slow)) as client:
        inside = [asyncio.create_task(read(client)), asyncio.create_task(client.post(f"/xrpc/{WRITE}", json=RECORD))]
        await until(lambda: slow.inside == 2)
        yield client, slow
        slow.go.set()
        await asyncio.gather(*inside)


async def test_what_is_said_with_ready_bytes_is_what_is_said_to_those_that_waited() -> None:
    slow = Slow()
    async with full() as (client, _), serving(Limits(1, 1, 0.01), Endpoint(READ, slow)) as other:
        first = asyncio.create_task(read(other))
        await until(lambda: slow.inside == 1)
        async with client.get(READ_PATH) as ready, other.get(READ_PATH) as late:
            bodies = await ready.read(), await late.read()
            seen = other.shed("views", "late")
        slow.go.set()
        await first

    assert seen == 1
    assert bodies[0] == bodies[1]
    assert ready.status == late.status == 503
    assert {name: late.headers[name] for name in ready.headers} == dict(ready.headers)
    assert {"Content-Type", "Retry-After", "Access-Control-Allow-Origin"} < set(ready.headers)


async def test_a_connection_goes_on_after_a_refusal_and_each_request_has_its_own() -> None:
    body = orjson.dumps(RECORD)
    write = b"POST /xrpc/%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
        WRITE.encode(),
        len(body),
    )
    async with full() as (client, slow):
        reader, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)
        writer.write(write)  # and what it writes comes later
        await until(lambda: len(client.requests) == 3)
        writer.write(body + write + body + f"GET {READ_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        writer.write(f"HEAD {READ_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        writer.write(f"GET {READ_PATH} HTTP/1.0\r\n\r\n".encode())
        answers = await reader.read()  # the last of them closes
        writer.close()
        begun = slow.begun

    assert answers.count(b" 503 Service Unavailable\r\n") == 5
    assert answers.count(b"NotEnoughResources") == 4  # none for HEAD
    assert begun == 2
    assert (client.shed("writes", "full"), client.shed("views", "full")) == (2, 3)


async def test_who_asks_on_and_reads_no_answers_has_few_of_them_kept() -> None:
    ask = f"GET {READ_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    async with full() as (client, _):
        with socket.socket() as asking:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            asking.setblocking(False)
            await loop.sock_connect(asking, (client._base_url.host, client._base_url.port))
            await loop.sock_sendall(asking, ask)
            await until(lambda: len(client.requests) == 3)
            transport = client.requests[-1].transport
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
            sending = loop.create_task(loop.sock_sendall(asking, 20_000 * ask))
            most = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    while most < 256 * 1024:
                        await asyncio.sleep(0.01)
                        most = max(most, transport.get_write_buffer_size())
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    assert most < 256 * 1024


async def test_a_subscription_holds_no_place_and_is_refused_for_none() -> None:
    slow, subscribed = Slow(), asyncio.Event()

    async def stream(_: Ctx) -> Answer:
        subscribed.set()
        return {}

    transfer = Endpoint("com.atproto.sync.getHead", slow)
    endpoints = (transfer, Endpoint("com.atproto.sync.subscribeRepos", stream))
    async with serving(Limits(1, 0, 600.0), *endpoints) as client:
        path = f"/xrpc/com.atproto.sync.getHead?did={RECORD['repo']}"
        inside = [asyncio.create_task(client.get(path)) for _ in range(8)]
        await until(lambda: slow.inside == 8)
        async with client.get(path) as shed, client.get("/xrpc/com.atproto.sync.subscribeRepos") as answer:
            statuses = (shed.status, answer.status)
        slow.go.set()
        await asyncio.gather(*inside)

    assert statuses == (503, 200)
    assert subscribed.is_set()


@pytest.mark.parametrize(
    ("nsid", "kind"),
    [
        ("app.bsky.feed.getTimeline", "views"),
        ("app.bsky.actor.getProfile", "views"),
        ("com.atproto.repo.getRecord", "records"),
        ("com.atproto.repo.createRecord", "writes"),
        ("com.atproto.repo.applyWrites", "writes"),
        ("com.atproto.repo.uploadBlob", "transfers"),
        ("com.atproto.repo.importRepo", "transfers"),
        ("com.atproto.sync.getRepo", "transfers"),
        ("com.atproto.sync.getBlob", "transfers"),
        ("com.atproto.server.createAccount", "accounts"),
        ("com.atproto.identity.resolveHandle", "accounts"),
    ],
)
def test_what_waits_for_the_same_waits_together(nsid: str, kind: str) -> None:
    assert kind in KINDS
    assert kind_of(lexicon.load().methods[nsid]) == kind
