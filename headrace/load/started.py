"""One process of headrace that a run started: `up`, or a role of a cluster. Started again it has the same ports.

Does not own which there are (`target.py`) nor when faults come (`run.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path

import msgspec

_STOP_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1
_LISTENERS = {"port": "xrpc", "plc_port": "plc", "ops_port": "ops"}
Setting = str | int | float | bool


class TargetError(Exception):
    """The target could not be started: the message has its last words."""


class Started:
    """`command` is what follows `headrace`; `addresses` are what it printed: xrpc, plc, ops, as far as it has them."""

    def __init__(self, name: str, command: str, folder: Path, settings: Mapping[str, Setting], ready: float) -> None:
        """`folder` is its own: its data, and what it says. `ready` are the seconds it may take."""
        self.name = name
        self.addresses: dict[str, str] = {}
        self.data = folder / "data"
        self._command, self._settings, self._ready = command, settings, ready
        self._said = folder / "log"
        self._process: Process | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def is_dead(self) -> bool:
        """Whether it was started and has ended."""
        return self._process is not None and self._process.returncode is not None

    async def start(self) -> None:
        """Return when it serves. Raises TargetError."""
        # Free ports at first, the same ones again: accounts' DID documents name them.
        ports = {
            setting: self.addresses.get(listener, "").rstrip("/").rpartition(":")[2] or "0"
            for setting, listener in _LISTENERS.items()
        }
        settings = {**self._settings, **ports, "data": str(self.data)}
        flags = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        with self._said.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "headrace", self._command, "--json", *flags),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=log,
                preexec_fn=_die_with_parent,
                start_new_session=True,  # Ctrl-C is for the run, which ends its target itself
            )
        try:
            async with asyncio.timeout(self._ready):
                self.addresses = msgspec.json.decode(await self._line(), type=dict[str, str])
                while await self._line() != b"ready":
                    pass
        except (TimeoutError, msgspec.MsgspecError):
            await self.close()
            raise TargetError(f"{self.name} did not get ready:\n{self.last_words()}") from None

    def tell_to_end(self) -> None:
        """SIGTERM, to one that runs."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)  # a stopped one hears nothing else
                process.terminate()

    async def close(self) -> None:
        """End it, politely first."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.tell_to_end()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def last_words(self) -> str:
        return self._said.read_text(errors="replace")[-2000:] if self._said.exists() else ""

    async def _line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise TimeoutError
        return line.strip()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
