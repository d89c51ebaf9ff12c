"""The target of a run: a `headrace up` or the roles of a cluster of its own, or a server that is there.

Faults are done to processes by their ids, and to no others. Does not own a process (`started.py`), what a cluster's
roles are and what they leave (`cluster.py`), which targets may be aimed at (`aim.py`) nor when faults come (`run.py`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from headrace.client import NotRunningError
from headrace.commands.admin_client import Admin, AnsweredError
from headrace.load.cluster import OwnCluster
from headrace.load.plan import Target
from headrace.load.started import Setting, Started, TargetError
from headrace.secrets import ADMIN_TOKEN

__all__ = ["RunningTarget", "TargetError"]

READY_SECONDS = 120.0
_OF_LOAD: Mapping[str, Setting] = {"rate_limit_scale": "1000000"}  # or the limits of one address are what is measured
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "continue": signal.SIGCONT}
_MAIN = "target"


class RunningTarget:
    """`pids` are processes by name: those that were started, and those that the command line named."""

    def __init__(self, target: Target, url: str, folder: Path, named: dict[str, int]) -> None:
        self._target, self._folder, self._named = target, folder, named
        self._cluster: OwnCluster | None = None
        self._started: dict[str, Started] = {}
        self._url = url
        self._plc = ""
        self._expected: set[str] = set()
        self.taken_away: list[str] = []
        """Clusters of runs that were killed, which went with its own."""
        self.left_behind: list[str] = []
        """What could not be taken away, in words."""

    @property
    def url(self) -> str:
        """Where clients go: PDS and AppView."""
        if self._cluster is not None:
            return self._cluster.url
        return self._started[_MAIN].addresses["xrpc"].rstrip("/") if self._started else self._url

    @property
    def plc(self) -> str:
        """The did:plc directory of a target that the run started."""
        return self._plc or self._of("plc" if self._cluster else _MAIN).addresses["plc"].rstrip("/")

    @property
    def relay(self) -> str:
        """Where what reads other hosts shows its metrics, of a target that the run started."""
        return self._of("relay" if self._cluster else _MAIN).addresses["ops"].rstrip("/")

    @property
    def data(self) -> Path:
        """The directory of `headrace up`."""
        return self._started[_MAIN].data

    @property
    def ops(self) -> list[str]:
        """Addresses of metrics, as far as they are known."""
        found = [each.addresses.get("ops", "").rstrip("/") for each in self._started.values()]
        return [each for each in found if each] or [each for each in [self._target.ops.rstrip("/")] if each]

    @property
    def pids(self) -> dict[str, int]:
        own = {name: each.pid for name, each in self._started.items() if each.pid is not None}
        return {**own, **self._named}

    @property
    def dead(self) -> list[str]:
        """The started processes that have ended."""
        return [name for name, each in self._started.items() if each.is_dead]

    @property
    def unexpectedly_dead(self) -> list[str]:
        """Those that no fault has ended."""
        return [name for name in self.dead if name not in self._expected]

    async def start(self, more: Mapping[str, Setting]) -> None:
        """Return when it serves; `more` are settings that the run itself needs. Raises TargetError."""
        settings = {**_OF_LOAD, **self._target.settings, **more}
        self._plc = str(settings.get("plc_url", "")).rstrip("/")
        if self._target.start == "cluster":
            self._cluster = OwnCluster(self._target, self._folder, settings)
            self._started = self._cluster.roles
            await self._cluster.start()
        elif self._target.start == "embedded":
            one = Started(_MAIN, "up", self._folder / "target", settings, READY_SECONDS)
            self._started = {_MAIN: one}
            await one.start()

    async def trust(self, host: str) -> None:
        """Let a host that it crawls send at the trusted rate, or quotas are what is measured. Raises TargetError."""
        reading = self._of("relay" if self._cluster else _MAIN)
        token = (reading.data / ADMIN_TOKEN).read_text(encoding="ascii").strip()
        async with aiohttp.ClientSession() as session:
            admin = Admin(reading.addresses["xrpc"].rstrip("/"), token, session)
            change = {"host": urlsplit(host).netloc, "trusted": True}
            try:
                await admin.post("/admin/pds/changeLimits", change)
            except (AnsweredError, NotRunningError) as error:
                raise TargetError(f"the target does not trust {host}: {error}") from error

    async def close(self) -> None:
        """End the processes that were started, and leave those that were there. A cluster's stores are as before.

        What cannot be taken away is in `left_behind`: it is no reason to lose what the run found.
        """
        for each in reversed(self._started.values()):
            each.tell_to_end()
        for each in self._started.values():
            await each.close()
        if self._cluster is not None:
            try:
                self.taken_away = await self._cluster.drop()
            except TargetError as error:
                self.left_behind.append(str(error))

    def named(self, name: str) -> str:
        """The process that a fault means: of a cluster the target is the PDS."""
        return OwnCluster.MAIN if self._target.start == "cluster" and name == _MAIN else name

    async def do(self, fault: str, name: str) -> str:
        """Do a fault; the words for what was done. Raises TargetError when it cannot be started again."""
        name = self.named(name)
        if fault == "restart":
            begin = time.monotonic()
            if name not in self._started:
                return f"{name} is no process that this run started: nothing was done"
            await self._started[name].close()
            await self._started[name].start()
            self._expected.discard(name)
            return f"{name} started again in {time.monotonic() - begin:.1f} s"
        number = _SIGNALS[fault]
        pid = self.pids.get(name)
        if pid is None:
            return f"{name} is no process of this run: nothing was done"
        if fault == "kill" and name in self._started:
            self._expected.add(name)
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return f"{name} is gone already"
        return f"{name} was sent {number.name}"

    def last_words(self) -> str:
        return "\n".join(self._started[name].last_words() for name in self.dead)

    def _of(self, name: str) -> Started:
        if name not in self._started:
            raise TargetError(f"there is no {name} that this run started")
        return self._started[name]
