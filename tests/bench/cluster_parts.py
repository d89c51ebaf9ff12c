"""What a run on a cluster needs beside it: a stack, how much CPU a process used, how many statements a store was given.

Does not own what is measured.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from api.appview.gate import GatedStore
from api.appview.late import Part, within
from api.appview.together import at_once
from tests.support.asking import InProcess
from tests.support.devstack.stack import Stack
from tests.support.stack import CQL, KAFKA
from views.store import Store
from views.store_recent import RecentStore
from views.store_scylla import CqlSettings, ScyllaStore, StoreUnavailableError, reads_fast

_PATIENCE = 300.0


class Asked:
    """How many statements a store's session is given while this is entered."""

    def __init__(self, store: ScyllaStore) -> None:
        self._session = store._session
        self._run = self._session.run
        self.statements = 0

    def __enter__(self) -> None:
        async def run(statements: Sequence[Any]) -> list[list[tuple[Any, ...]]]:
            self.statements += len(statements)
            return await self._run(statements)

        self._session.run = run  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        del self._session.run


def reading(settings: CqlSettings) -> CqlSettings:
    """With the driver that an AppView would take."""
    return msgspec.structs.replace(settings, driver="acsylla" if reads_fast() else "scylla-driver")


def as_an_appview(store: ScyllaStore, kept_seconds: float = 1.0) -> InProcess:
    """Bounded as an AppView's reader is; for a part that does not come in a minute the run is over."""
    gated = GatedStore(store, 256, StoreUnavailableError, seconds=60.0)
    rows: Store = RecentStore(gated, kept_seconds) if kept_seconds > 0 else gated
    return InProcess(rows, together=at_once(8), big_kept=1.0, in_time=within(60.0, _given_up))


def _given_up(part: Part) -> None:
    raise AssertionError(f"{part} did not come")


def spent(process: subprocess.Popen[bytes]) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_PATIENCE):
        while not await check():  # noqa: ASYNC110 - it is other processes that bring it there
            await asyncio.sleep(0.005)


@contextmanager
def stack(folder: Path) -> Iterator[tuple[str, str]]:
    """(servers, host:port) of one that runs, or of one of this run's own."""
    servers, cql = os.environ.get(KAFKA), os.environ.get(CQL)
    if servers and cql:
        yield servers, cql
        return
    own = Stack(folder / "stack", brokers=1, stores=1)
    try:
        own.start()
        yield own.servers, f"{own.hosts[0]}:{own.port}"
    finally:
        own.stop()
