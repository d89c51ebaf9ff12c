"""Rows `relay_intake*`: events from another process's firehose into the log, verified, on one machine.

A host with 100 accounts serves 120 signed commits of each at once (BENCH_SCALE: fewer, or more); the relay in this
process connects, resolves each account in a directory at hand, verifies inline or in a pool, and appends. "A second of
CPU" counts the relay and its pool, not the host: it says what is left of the machine at a given pace.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import uvloop

from ingest.identity.ssrf import LOOPBACK, AddressGuard
from ingest.log_sqlite.log import SqliteLog
from ingest.relay.directory import HostLimits
from ingest.relay.outgoing import Outgoing
from ingest.relay.parts import RelayLog, RelayParts, RelaySettings
from ingest.relay.pool import VerifierPool
from ingest.relay.relay import Relay
from ingest.relay.verifier import InlineVerifier, Verifier
from tests.bench.run import ROOT, Row, say
from tests.relay.world.host import Host, Member
from tests.relay.world.people import People, did_of
from tests.relay.world.relay import NOW, no_handle

ACCOUNTS = 100
COMMITS = max(1, int(120 * float(os.environ.get("BENCH_SCALE", "1"))))
EVENTS = ACCOUNTS * COMMITS


def rows() -> list[Row]:
    """All rows, printed as they are made."""
    found = []
    with hosting() as port:
        for processes in (0, 1):
            with tempfile.TemporaryDirectory() as folder:
                found += [say(row) for row in uvloop.run(intake(port, processes, Path(folder)))]
    return found


@contextmanager
def hosting() -> Iterator[int]:
    """The host's port, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.relay_intake", "--host"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        assert host.stdin is not None
        try:
            yield int(host.stdout.readline())
        finally:
            host.stdin.close()


async def serve() -> None:
    """The host: prints its port, and ends when its input does."""
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, ACCOUNTS + 1)]
        for _ in range(COMMITS):
            await host.say(*(member.write() for member in members))
        print(host.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def intake(port: int, processes: int, folder: Path) -> list[Row]:
    log = await SqliteLog.open(folder / "log.sqlite")
    pool = VerifierPool(processes) if processes else None
    if pool is not None:
        await pool.start()
    spent = await crawled(log, port, folder, pool)
    appended = await log.read_commits(0, EVENTS - 1, 10)
    assert len(appended) == 1
    if pool is not None:
        await pool.close()
    await log.close()
    row = f"relay_intake_pool_{processes}" if processes else "relay_intake"
    return [
        Row(row, round(EVENTS / spent.seconds, 1), "events/s"),
        Row(f"{row}_per_cpu", round(EVENTS / spent.cpu, 1), "events/CPU-s"),
    ]


class Spent(NamedTuple):
    """Seconds by the clock until all is appended, and of CPU in this process and its pool."""

    seconds: float
    cpu: float


async def crawled(
    log: RelayLog, port: int, folder: Path, pool: VerifierPool | None, mended: Callable[[Relay], None] = lambda _: None
) -> Spent:
    """All that the host says, into `log`, by a relay of this process."""
    people = People()
    for number in range(1, ACCOUNTS + 1):
        people.put(did_of(number), Member(number).key, f"http://127.0.0.1:{port}")
    resolver, outgoing = people.resolver(), Outgoing(AddressGuard(LOOPBACK), private=True)
    verifier: Verifier = InlineVerifier() if pool is None else pool
    relay = await Relay.open(
        RelayParts(
            path=folder / "relay.sqlite",
            log=log,
            resolver=resolver,
            handle_of=no_handle,
            verifier=verifier,
            outgoing=outgoing,
            hosted=lambda _: False,
            settings=RelaySettings(private=True, introduce=False, host_accounts=ACCOUNTS),
            now=lambda: NOW,
        )
    )
    mended(relay)
    pids = [psutil.Process().pid, *(pool.pids if pool else ())]
    before, begin = used(pids), time.perf_counter()
    name = f"127.0.0.1:{port}"
    await relay.add_host(name)
    await relay.set_limits(name, HostLimits(ACCOUNTS, 10**6, 10**9, 10**9), trusted=True)
    async with asyncio.timeout(300):
        while not (known := relay.host(name)) or (known.seq or 0) < EVENTS:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    spent = Spent(time.perf_counter() - begin, used(pids) - before)
    dropped = [dict(host.dropped) for host in relay.known if host.dropped]
    assert not dropped, dropped
    await relay.close()
    await outgoing.close()
    await resolver.close()
    return spent


def used(pids: list[int]) -> float:
    """Seconds of CPU that these processes have taken."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", action="store_true", help="be the host")
    if parser.parse_args().host:
        asyncio.run(serve())
    else:
        rows()
