"""The target of a run: a `headrace up` of its own in a directory of its own, or a server that is there.

Started again it has the same ports and files. Faults are done to processes by their ids, and to no others. Does not
own which targets may be aimed at (`aim.py`) nor when faults come (`run.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import IO

import msgspec

from headrace.load.plan import Target

READY_SECONDS = 120.0
_STOP_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1
_OF_LOAD = {"rate_limit_scale": "1000000"}  # or the limits of one address are what is measured
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "continue": signal.SIGCONT}


class TargetError(Exception):
    """The target could not be started: the message has its last words."""


class Addresses(msgspec.Struct):
    xrpc: str
    plc: str
    ops: str


class RunningTarget:
    """`pids` are processes by name: the one that was started, and those that the command line named."""

    def __init__(self, target: Target, url: str, folder: Path, named: dict[str, int]) -> None:
        self._target, self._folder = target, folder
        self._named = named
        self._process: Process | None = None
        self._log: IO[bytes] | None = None
        self._addresses: Addresses | None = None
        self.url, self.ops = url, target.ops.rstrip("/")
        self.data = folder / "data"
        self.expected_dead = False

    @property
    def pids(self) -> dict[str, int]:
        own = {} if self._process is None else {"target": self._process.pid}
        return {**own, **self._named}

    @property
    def starts(self) -> bool:
        """Whether it is a process of this run's own."""
        return self._target.start == "embedded"

    @property
    def is_dead(self) -> bool:
        """Whether a process that was started has ended."""
        return self._process is not None and self._process.returncode is not None

    async def start(self) -> None:
        """Return when it serves. Raises TargetError."""
        if not self.starts:
            return
        ports = dict(zip(("port", "plc_port", "ops_port"), self._ports(), strict=True))
        settings = {**_OF_LOAD, **self._target.settings, **ports}
        flags = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        self._log = (self._folder / "target.log").open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headrace", "up", "--json", "--data", str(self.data), *flags),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=self._log,
            preexec_fn=_die_with_parent,
            start_new_session=True,  # Ctrl-C is for the run, which ends its target itself
        )
        try:
            async with asyncio.timeout(READY_SECONDS):
                self._addresses = msgspec.json.decode(await self._line(), type=Addresses)
                while await self._line() != b"ready":
                    pass
        except (TimeoutError, msgspec.MsgspecError):
            await self.close()
            raise TargetError(f"the target did not get ready:\n{self.last_words()}") from None
        self.url, self.ops = self._addresses.xrpc.rstrip("/"), self._addresses.ops.rstrip("/")
        self.expected_dead = False

    async def close(self) -> None:
        """End the process that was started, politely first, and leave those that were there."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)  # a stopped one hears nothing else
                process.terminate()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._log is not None:
            self._log.close()

    async def do(self, fault: str, name: str) -> str:
        """Do a fault; the words for what was done. Raises TargetError when it cannot be started again."""
        if fault == "restart":
            begin = time.monotonic()
            if not self.is_dead:
                await self.close()
            await self.start()
            return f"{name} started again in {time.monotonic() - begin:.1f} s"
        number = _SIGNALS[fault]
        pid = self.pids.get(name)
        if pid is None:
            return f"{name} is no process of this run: nothing was done"
        self.expected_dead = self.expected_dead or (fault == "kill" and name == "target")
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return f"{name} is gone already"
        return f"{name} was sent {number.name}"

    def last_words(self) -> str:
        path = self._folder / "target.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def _ports(self) -> tuple[str, str, str]:
        """Free ones at first, the same ones again: accounts' DID documents name them."""
        if self._addresses is None:
            return "0", "0", "0"
        found = (self._addresses.xrpc, self._addresses.plc, self._addresses.ops)
        xrpc, plc, ops = (each.rstrip("/").rpartition(":")[2] for each in found)
        return xrpc, plc, ops

    async def _line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise TimeoutError
        return line.strip()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
