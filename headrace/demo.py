"""`headrace up --demo`: a small population on one's own machine, and a trickle of what it does.

Accounts are hosted by this PDS, with one password that everybody may know: so only on a loopback address. A day of
their life is made from a seed when the directory is empty; then something happens every few seconds. Does not own what
a population does (`headrace/load/synthesis/plan.py`) nor how the PDS writes it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable
from ipaddress import ip_address

import structlog

from headrace.load.synthesis.plan import Plan
from headrace.load.synthesis.steps import Population, Step
from headrace.settings import Settings, SettingsError
from ingest.pds.pds import Pds
from ingest.pds.writes import Write
from schemas import cbor
from schemas.errors import XrpcError
from schemas.syntax import Did

PASSWORD = "headrace-demo"  # noqa: S105 - said in the output, and of accounts that hold nothing
NAMES = ("alice", "boris", "carla", "derya", "emeka", "fatma", "goran", "hanna", "imani", "jonas", "kenji", "leila")
EVENTS = 300
EVERY = 3.0  # seconds from one thing to the next, in the mean
_DAY = 86_400_000_000
_SEED = 2024

_log = structlog.get_logger()


def check(settings: Settings) -> None:
    """Raises SettingsError unless the network is this machine's alone."""
    try:
        private = settings.host == "localhost" or ip_address(settings.host).is_loopback
    except ValueError:
        private = False
    if not private:
        raise SettingsError(
            f"--demo: its accounts have a password that everybody knows, so expected a loopback address for host, "
            f"found {settings.host}. Leave --demo out, or start with --host 127.0.0.1"
        )


class Demo:
    """`await fill()`, then `await trickle()` for as long as the network runs."""

    def __init__(self, pds: Pds, domain: str) -> None:
        self._pds = pds
        self._handles = tuple(name + domain for name in NAMES)
        self._dids: list[Did] = []
        self._refused = 0

    async def fill(self) -> None:
        """The accounts, with a day behind them if they are new."""
        new = False
        for handle in self._handles:
            did, made = await self._account(handle)
            self._dids.append(did)
            new = new or made
        if new:
            now = time.time_ns() // 1000
            population = Population(_SEED, len(NAMES), EVENTS, rate=EVENTS / 86_400, start=now - _DAY)
            plan = Plan(population, self._dids, self._handles.__getitem__)
            await self._all((*plan.foundings(), *(step for step in plan.events() if step.time <= now)))
        sys.stderr.write(
            f"headrace: demo: log in as {self._handles[0]} (or any of {len(NAMES)}), password {PASSWORD}\n"
        )

    async def trickle(self) -> None:
        """Something every few seconds, for ever."""
        while True:
            now = time.time_ns() // 1000
            population = Population(now, len(self._dids), EVENTS, rate=1 / EVERY, start=now)
            for step in Plan(population, self._dids, self._handles.__getitem__).events():
                await asyncio.sleep(max(0.0, step.time / 1e6 - time.time()))
                await self._do(step)

    async def _account(self, handle: str) -> tuple[Did, bool]:
        try:
            return await self._pds.resolve_handle(handle), False
        except XrpcError:
            email = f"{handle.partition('.')[0]}@example.com"
            session = await self._pds.create_account(handle=handle, email=email, password=PASSWORD)
            return session.did, True

    async def _all(self, steps: Iterable[Step]) -> None:
        """Each account its own in order, all at once."""
        by_account: dict[int, list[Step]] = {}
        for step in steps:
            by_account.setdefault(step.account, []).append(step)
        await asyncio.gather(*map(self._in_turn, by_account.values()))

    async def _in_turn(self, steps: list[Step]) -> None:
        for step in steps:
            await self._do(step)

    async def _do(self, step: Step) -> None:
        """Write what a step writes; somebody may have deleted the account meanwhile, and the rest goes on."""
        writes = [_write(path, value) for path, value in step.writes]
        try:
            if writes:
                await self._pds.apply_writes(self._dids[step.account], writes)
        except XrpcError as refused:
            self._refused += 1
            if self._refused <= len(NAMES):
                _log.warning("the demo was refused a write", account=step.account, error=str(refused))


def _write(path: str, value: object) -> Write:
    collection, _, rkey = path.partition("/")
    record = cbor.decode(value) if isinstance(value, bytes) else value
    if record is None:
        return Write("delete", collection, rkey, if_absent_ok=True)
    assert isinstance(record, dict)
    return Write("put", collection, rkey, record)
