"""Rows of serving the firehose: live frames to 1, 10 and 100 subscribers, and one that is far behind.

Server and subscribers are processes of their own on loopback. Live events come at a fixed pace from memory, so what is
measured is serving: frames a CPU second of the server, and whether any was lost. Catching up reads a log in a file.
`python -m tests.bench.firehose_serving` prints the rows; `rows()` is what `make bench-relay` adds to its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import apsw
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from api.com.atproto.sync import subscribe_repos
from api.firehose import FirehoseHub
from api.metrics import HttpMetrics
from api.xrpc import Ctx, Services
from ingest.log import FirehoseReader
from ingest.log_sqlite.log import SqliteLog
from schemas.entries import FirehoseEvent
from tests.bench.run import Row, say
from tests.support.log_world import Repo, record_of

ROOT = Path(__file__).resolve().parent.parent.parent
LIVE = ((1, 2_000), (10, 1_000), (100, 400))  # subscribers, events a second
SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))
BEHIND = int(os.environ.get("BENCH_BEHIND", "1000000"))  # events of the log that is caught up with
SIGNED = 50_000  # of them; the rest are these again, under numbers of their own and with bytes of their own on disk
FILLER = 1_000  # random bytes of a record: frames of about 2 KB, as on the network
_HEAD = b"head of a #commit, seq"
_UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
_KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"


def rows() -> list[Row]:
    """All rows, printed as they are made."""
    with tempfile.TemporaryDirectory() as folder:
        found = [row for count, pace in LIVE for row in _live(count, pace, Path(folder))]
        return found + _catch_up(Path(folder))


def _live(count: int, pace: int, folder: Path) -> list[Row]:
    with _server("paced", str(pace), folder) as (port, pid):
        before = _cpu(pid)
        total, lost = uvloop.run(_take(port, count, seconds=SECONDS))
        used = _cpu(pid) - before
    name = f"firehose_live_{count}"
    return [
        say(Row(name, round(total / SECONDS, 1), "frames/s")),
        say(Row(f"{name}_per_cpu", round(total / used, 1), "frames/CPU-s")),
        say(Row(f"{name}_lost", float(lost), "events")),
    ]


def _catch_up(folder: Path) -> list[Row]:
    subprocess.run(_command("fill", str(BEHIND), folder), check=True, cwd=ROOT)
    with _server("file", "0", folder) as (port, pid):
        before, started = _cpu(pid), time.perf_counter()
        total, lost = uvloop.run(_take(port, 1, until=BEHIND))
        taken, used = time.perf_counter() - started, _cpu(pid) - before
    return [
        say(Row("firehose_catch_up", round(total / taken, 1), "frames/s")),
        say(Row("firehose_catch_up_per_cpu", round(total / used, 1), "frames/CPU-s")),
        say(Row("firehose_catch_up_lost", float(lost), "events")),
    ]


class Subscriber(asyncio.Protocol):
    """Counts the frames of one subscription, from their websocket heads alone, and keeps the first and the last."""

    def __init__(self, until: int | None) -> None:
        self.frames = 0
        self.first = b""
        self.last = b""
        self.done = asyncio.Event()
        self._until = until
        self._buffer = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        cursor = b"" if self._until is None else b"?cursor=0"
        self.transport.write(b"GET /" + cursor + b" HTTP/1.1\r\nHost: x\r\n" + _UPGRADE + _KEY)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.done.set()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at, end = 0, len(buffer)
        if not self._upgraded:
            head = buffer.find(b"\r\n\r\n")
            if head < 0:
                self._buffer = buffer
                return
            at, self._upgraded = head + 4, True
        newest: tuple[int, int] | None = None
        while end - at >= 10:
            size = buffer[at + 1]
            start = at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[start : start + 2], "big"), start + 2
            elif size == 127:
                size, start = int.from_bytes(buffer[start : start + 8], "big"), start + 8
            if start + size > end:
                break
            if buffer[at] == 0x82:
                self.frames += 1
                newest = (start, start + size)
                if self.frames == 1:
                    self.first = buffer[start : start + size]
            at = start + size
        if newest is not None:
            self.last = buffer[slice(*newest)]
        self._buffer = buffer[at:]
        if self._until is not None and self.frames >= self._until:
            self.done.set()


async def _take(port: int, count: int, *, seconds: float = 0.0, until: int | None = None) -> tuple[int, int]:
    """Frames that all got, and how many were missing between the first and the last of each.

    Who was cut off misses all that came since.
    """
    loop = asyncio.get_running_loop()
    subscribers = [
        (await loop.create_connection(lambda: Subscriber(until), "127.0.0.1", port))[1] for _ in range(count)
    ]
    if until is None:
        await asyncio.sleep(0.5)  # all are live
        before = [subscriber.frames for subscriber in subscribers]
        await asyncio.sleep(seconds)
    else:
        before = [0]
        async with asyncio.timeout(600):
            await subscribers[0].done.wait()
    got = [subscriber.frames - first for subscriber, first in zip(subscribers, before, strict=True)]
    newest = max(seq_of(subscriber.last) for subscriber in subscribers)
    lost = 0
    for subscriber in subscribers:
        cut_off = until is None and subscriber.done.is_set()
        last = newest if cut_off else seq_of(subscriber.last)
        lost += last - seq_of(subscriber.first) + 1 - subscriber.frames
        subscriber.transport.abort()
    return sum(got), lost


def seq_of(frame: bytes) -> int:
    """Of a frame of `Repo`, whose number comes after a head that is always the same."""
    number = frame.removeprefix(_HEAD)
    assert len(number) < len(frame)
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(number[0])
    return number[0] if size is None else int.from_bytes(number[1 : 1 + size], "big")


class PacedLog:
    """`ingest.log.FirehoseReader` in memory: events come at a pace, the newest few thousand are kept."""

    def __init__(self, pace: int) -> None:
        repo = Repo(1, filler=FILLER)
        commits = [repo.commit_entry(repo.op(f"app.bsky.feed.post/{n}", record_of("x"))) for n in range(64)]
        self._commits = [(entry.did, entry.head, entry.tail) for entry in commits]
        self._pace = pace
        self._begin = time.perf_counter()
        self.changed = self

    def _newest(self) -> int:
        return int((time.perf_counter() - self._begin) * self._pace)

    def listen(self, _callback: object) -> object:
        raise NotImplementedError

    async def wait(self, _seen: object) -> None:
        raise NotImplementedError

    async def wait_firehose(self, seen: int) -> None:
        while self._newest() <= seen:  # noqa: ASYNC110 - time passes by itself
            await asyncio.sleep(1 / self._pace)

    def firehose_bounds(self) -> tuple[int, int, int]:
        return 1, self._newest(), 1

    async def read_firehose(self, after: int, limit: int) -> list[FirehoseEvent]:
        return [self._event(seq) for seq in range(after + 1, min(self._newest(), after + limit) + 1)]

    def _event(self, seq: int) -> FirehoseEvent:
        did, head, tail = self._commits[seq % len(self._commits)]
        return FirehoseEvent(seq, did, "commit", head, tail, seq)


@contextlib.asynccontextmanager
async def _log(kind: str, number: int, folder: Path) -> AsyncIterator[FirehoseReader]:
    if kind == "paced":
        yield cast("FirehoseReader", PacedLog(number))
        return
    log = await SqliteLog.open(folder / "log.sqlite")
    try:
        yield log
    finally:
        await log.close()


async def _serve(kind: str, number: int, folder: Path) -> None:
    async with _log(kind, number, folder) as log:
        hub = FirehoseHub(log, lambda _did: True)
        services = Services(firehose=hub, metrics=HttpMetrics(CollectorRegistry()))

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            params = {name: int(value) for name, value in request.query.items()}
            answer = await subscribe_repos.handle(Ctx("subscribeRepos", services, params=params, request=request))
            return cast("web.StreamResponse", answer)

        following = asyncio.ensure_future(hub.run())
        runner = web.ServerRunner(web.Server(handle, access_log=None))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        sys.stdout.write(f"{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until whoever started it is gone
        hub.close()
        following.cancel()
        await runner.cleanup()


async def _fill(count: int, folder: Path) -> None:
    """A log of that many commits, none of whose records anybody asks for."""
    log = await SqliteLog.open(folder / "log.sqlite")
    repos = [Repo(number, filler=FILLER) for number in range(100)]
    signed = min(count, SIGNED)
    for first in range(0, signed, 500):
        entries = []
        for number in range(first, min(first + 500, signed)):
            repo = repos[number % len(repos)]
            repo.records.clear()
            entries.append(repo.commit_entry(repo.op(f"app.bsky.feed.post/{number}", record_of(str(number)))))
        await log.append_many(entries)
    await log.close()
    _again(folder / "log.sqlite", signed, count)


def _again(path: Path, signed: int, count: int) -> None:
    """The same commits under the numbers that follow, up to `count`: reading them costs what reading others would."""
    con = apsw.Connection(str(path))
    for base in range(signed, count, signed):
        part = min(signed, count - base)
        with con:
            con.execute("INSERT INTO commits SELECT id+?, time, body FROM commits WHERE id<=?", (base, part))
            con.execute(
                "INSERT INTO firehose SELECT seq+?, time, source+?, kind, did, head, tail FROM firehose WHERE seq<=?",
                (base, base, part),
            )
            con.execute("UPDATE meta SET value=? WHERE key='next_seq'", (base + part + 1,))
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    con.close()


def _command(kind: str, number: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.bench.firehose_serving", kind, number, str(folder)]


@contextlib.contextmanager
def _server(kind: str, number: str, folder: Path) -> Iterator[tuple[int, int]]:
    process = subprocess.Popen(_command(kind, number, folder), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.communicate()


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", nargs="?", choices=("paced", "file", "fill"))
    parser.add_argument("number", nargs="?", type=int, default=0)
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    given = parser.parse_args()
    if given.kind is None:
        rows()
    elif given.kind == "fill":
        uvloop.run(_fill(given.number, given.folder))
    else:
        uvloop.run(_serve(given.kind, given.number, given.folder))


if __name__ == "__main__":
    main()
