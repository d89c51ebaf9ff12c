"""CPU of the server for a request that is turned away, beside one that an endpoint answers with as little.

`python -m tests.bench.refusals [REQUESTS]` prints microseconds of the serving process a request. Does not own the gate.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection

import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from api.config import ServerConfig
from api.dispatch import Dispatcher
from api.gate import Limits
from api.metrics import HttpMetrics
from api.server import PublicServer
from api.xrpc import Answer, Ctx, Endpoint, Services
from headrace.listeners import address, bind, listen
from schemas import lexicon

_CONFIG = ServerConfig(
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
_READ, _WRITE = "app.bsky.feed.getLikes", "com.atproto.repo.createRecord"
_PATH = f"/xrpc/{_READ}?uri=at://alice.test/app.bsky.feed.post/3k"
_RECORD = {"repo": f"did:plc:{'a' * 24}", "collection": "app.bsky.feed.like", "record": {"a": "b" * 200}}
_CLIENTS = 64
_TOKEN = "x" * 250


def _serve(conn: Connection, *, full: bool) -> None:
    async def never(_: Ctx) -> Answer:
        await asyncio.Event().wait()
        return {}

    async def at_once(_: Ctx) -> Answer:
        return {"ok": True}

    async def main() -> None:
        metrics = HttpMetrics(CollectorRegistry())
        services = Services(config=_CONFIG, metrics=metrics)
        act = never if full else at_once
        limits = Limits(1, 0, 60.0) if full else Limits()
        endpoints = (Endpoint(_READ, act), Endpoint(_WRITE, act))
        dispatcher = Dispatcher(lexicon.load(), services, None, metrics, pds=endpoints, limits=limits)  # type: ignore[arg-type]
        public = PublicServer(services, dispatcher, pages={})
        bound = bind("127.0.0.1", 0, "port")
        await listen(web.ServerRunner(web.Server(public.handle, access_log=None)), bound)
        conn.send(address(bound))
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, conn.recv):
            conn.send(time.process_time())

    uvloop.run(main())


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes, left: list[int], done: asyncio.Event) -> None:
        self._request, self._left, self._done = request, left, done
        self._transport: asyncio.Transport | None = None
        self.status = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.status = data[9:12]
        self._left[0] -= 1
        if self._left[0] > 0:
            assert self._transport is not None
            self._transport.write(self._request)
        elif self._left[0] <= 1 - _CLIENTS:
            self._done.set()


async def _ask(url: str, request: bytes, count: int) -> bytes:
    host, _, port = url.removeprefix("http://").partition(":")
    left, done = [count], asyncio.Event()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: _Client(request, left, done), host, int(port)) for _ in range(_CLIENTS)
    ]
    await done.wait()
    for transport, _ in made:
        transport.close()
    return made[0][1].status


async def _fill(url: str, request: bytes) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    await writer.drain()
    _kept.append(writer)


_kept: list[asyncio.StreamWriter] = []


def measure(count: int) -> dict[str, float]:
    """Microseconds of CPU a request: read and write, turned away and answered."""
    head = f" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {_TOKEN}\r\n"
    body = json.dumps(_RECORD)
    read = f"GET {_PATH}{head}\r\n".encode()
    write = (
        f"POST /xrpc/{_WRITE}{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    found = {}
    for full in (True, False):
        here, there = multiprocessing.Pipe()
        serving = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), kwargs={"full": full})
        serving.start()
        url = here.recv()

        async def all_of_them(url: str = url, full: bool = full, here: Connection = here) -> None:  # noqa: FBT001
            for kind, request in (("read", read), ("write", write)):
                if full:
                    await _fill(url, request)
                    await asyncio.sleep(0.3)
                status = await _ask(url, request, 2_000)
                here.send(1)
                before = here.recv()
                await _ask(url, request, count)
                here.send(1)
                found[f"{kind}_{status.decode()}"] = round((here.recv() - before) / count * 1e6, 1)

        asyncio.run(all_of_them())
        here.send(0)
        serving.join(5)
        serving.terminate()
    return found


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(measure(int(sys.argv[1]) if sys.argv[1:] else 20_000))}\n")
