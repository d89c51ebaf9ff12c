"""A small HTTP/1.1 client for load: keep-alive connections, prebuilt requests, whole answers.

Sized so that the generator stays off the critical path (a general client costs as much a request as the server).
Answers must carry Content-Length, as every XRPC answer of the measured endpoints does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import orjson


def build(method: str, path: str, token: str | None = None, body: object = None) -> bytes:
    """The bytes of one request; `body` is sent as JSON."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    payload = b""
    if method == "POST":
        payload = b"" if body is None else orjson.dumps(body)
        if body is not None:
            lines.append("Content-Type: application/json")
        lines.append(f"Content-Length: {len(payload)}")
    return "\r\n".join([*lines, "", ""]).encode() + payload


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request in flight."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.waiter: asyncio.Future[tuple[int, bytes]] | None = None
        self.need = -1
        self.start = 0
        self.status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.need < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.buffer[:end]).lower()
            self.status = int(head[9:12])
            at = head.find(b"content-length:")
            if at < 0:
                msg = f"an answer without Content-Length: {head!r}"
                raise ValueError(msg)
            self.need = int(head[at + 15 :].split(b"\r\n", 1)[0])
            self.start = end + 4
        if len(self.buffer) >= self.start + self.need:
            body = bytes(self.buffer[self.start : self.start + self.need])
            self.buffer.clear()
            self.need = -1
            waiter, self.waiter = self.waiter, None
            if waiter is not None and not waiter.done():
                waiter.set_result((self.status, body))

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        assert self.transport is not None
        self.waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.waiter

    async def json(self, request: bytes) -> dict[str, object]:
        """The answer's JSON; raises when the status is not 200."""
        status, body = await self.send(request)
        if status != 200:
            msg = f"{request.split(b' HTTP', 1)[0]!r} answered {status}: {body[:300]!r}"
            raise RuntimeError(msg)
        return orjson.loads(body) if body else {}

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


async def connect(port: int, count: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(count)]


@dataclass
class Figures:
    """Answers a second and latencies (ms) of one closed loop."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def closed_loop(
    connections: list[Connection],
    step: Callable[[Connection, int, int], Awaitable[None]],
    *,
    seconds: float,
    warm_up: float = 0.5,
) -> Figures:
    """Every connection calls `step(connection, client, round)` again and again; a failing answer ends the run."""
    figures = Figures()
    begin = time.perf_counter() + warm_up
    end = begin + seconds

    async def client(number: int, connection: Connection) -> None:
        turn = 0
        while (started := time.perf_counter()) < end:
            await step(connection, number, turn)
            turn += 1
            if started >= begin:
                figures.latencies.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(client(number, connection) for number, connection in enumerate(connections)))
    figures.seconds = time.perf_counter() - begin
    return figures
