"""Rows `relay_rss_*`: the memory of a relay that has met so many accounts, and of one that opens their file again.

Each is judged as an #account is: its document from a directory at hand, its host and its quota remembered; its entry
goes into the log with a thousand others, and its head is asked for. What grows with them must be on disk; caches fill
and stop. BENCH_ACCOUNTS says how many (1,000,000 unless told otherwise), and the rows' names do.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import uvloop

from ingest.identity.handles import HandleResolver
from ingest.identity.resolver import IdentityResolver
from ingest.identity.ssrf import AddressGuard
from ingest.log_sqlite.log import SqliteLog
from ingest.relay.outgoing import Outgoing
from ingest.relay.parts import RelayParts, RelaySettings
from ingest.relay.quotas import Bucket, Rate
from ingest.relay.relay import Relay
from ingest.relay.source import Source
from ingest.relay.verifier import InlineVerifier
from ingest.repo.keys import PrivateKey
from schemas.entries import Account
from schemas.syntax import Did
from tests.bench.run import ROOT, Row, say
from tests.relay.world.people import People, _NoDns, _NoWeb, did_of
from tests.relay.world.relay import NOW, no_handle

ACCOUNTS = int(os.environ.get("BENCH_ACCOUNTS", "1000000"))
HOSTS = 1_000
BATCH = 1_000
STEPS = (0.1, 0.5, 1.0)  # of all accounts


class Directory:
    """`ingest.identity.plc_client.PlcClient`: documents are made when they are asked for, so that none is kept here."""

    def __init__(self) -> None:
        self._key = PrivateKey.from_bytes("k256", (1).to_bytes(32, "big"))
        self._people = People()

    async def document(self, did: Did) -> dict[str, Any]:
        host = int.from_bytes(did.encode()[-4:], "big") % HOSTS
        self._people.put(did, self._key, f"https://pds{host}.example.com")
        return self._people.documents.pop(did)

    async def data(self, did: Did) -> dict[str, Any]:
        raise NotImplementedError

    async def last(self, did: Did) -> dict[str, Any]:
        raise NotImplementedError

    async def audit(self, did: Did) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def submit(self, did: Did, op: Mapping[str, Any]) -> None:
        raise NotImplementedError


def rows() -> list[Row]:
    """All rows, printed as they are made."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for mode in ("meet", "reopen"):
            command = [sys.executable, "-m", "tests.bench.relay_memory", "--mode", mode, "--folder", folder]
            run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
            for line in run.stdout.splitlines():
                name, value, unit = line.split("\t")
                found.append(say(Row(name, float(value), unit)))
    return found


async def measure(mode: str, folder: Path) -> None:
    """Print rows, a tab between their parts."""
    size = sum(path.stat().st_size for path in folder.glob("relay.sqlite*"))  # noqa: ASYNC240 - before all else
    async with AsyncExitStack() as stack:
        log = await SqliteLog.open(folder / "log.sqlite")
        stack.push_async_callback(log.close)
        resolver = IdentityResolver(Directory(), HandleResolver(_NoDns(), _NoWeb()), _NoWeb())
        stack.push_async_callback(resolver.close)
        outgoing = Outgoing(AddressGuard())
        stack.push_async_callback(outgoing.close)
        began = time.perf_counter()
        relay = await Relay.open(
            RelayParts(
                path=folder / "relay.sqlite",
                log=log,
                resolver=resolver,
                handle_of=no_handle,
                verifier=InlineVerifier(),
                outgoing=outgoing,
                hosted=lambda _: False,
                settings=RelaySettings(introduce=False),
                now=lambda: NOW,
            )
        )
        opened = time.perf_counter() - began
        stack.push_async_callback(relay.close)
        if mode == "meet":
            await meet(relay, log)
        else:
            assert relay.store.counts.total() == ACCOUNTS, relay.store.counts.total()
            put(f"relay_rss_reopened_{short(ACCOUNTS)}_accounts", rss(), "MB")
            put(f"relay_open_{short(ACCOUNTS)}_accounts", round(opened, 2), "s")
            put("relay_bytes_per_account", round(size / ACCOUNTS, 1), "bytes")


async def meet(relay: Relay, log: SqliteLog) -> None:
    authority = relay.intake.authority
    source = Source("upstream.example.com", "upstream", room=2_048, refreshes=Bucket(Rate(1, 1.0)))
    put("relay_rss_0_accounts", rss(), "MB")
    began, seq = time.perf_counter(), 0
    for share in STEPS:
        goal = int(ACCOUNTS * share)
        while seq < goal:
            dids = [did_of(number) for number in range(seq, min(seq + BATCH, goal))]
            seq += len(dids)
            for did in dids:
                document = await authority.document(source, did)
                authority.count(source, did)
                authority.see(source, did, document)
            await log.append_many([Account(did, "active") for did in dids])
            assert all(log.head(did) for did in dids)
            relay.save()
        put(f"relay_rss_{short(goal)}_accounts", rss(), "MB")
    assert relay.store.counts.total() == ACCOUNTS
    put("relay_accounts_met", round(ACCOUNTS / (time.perf_counter() - began), 1), "accounts/s")


def put(name: str, value: float, unit: str) -> None:
    print(name, value, unit, sep="\t", flush=True)


def rss() -> float:
    return round(psutil.Process().memory_info().rss / 1e6, 1)


def short(count: int) -> str:
    """1m, 500k."""
    return f"{count // 1_000_000}m" if count % 1_000_000 == 0 else f"{count // 1_000}k"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=("meet", "reopen"))
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.mode is None:
        rows()
    else:
        uvloop.run(measure(given.mode, given.folder))
