"""`headrace up` in a subprocess: free ports, a directory of its own, ended by its pid, gone when its parent is killed.

Does not own what is asked of it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

_PR_SET_PDEATHSIG = 1
READY_SECONDS = 60.0


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Network:
    """One running process. `log` is the file of its stderr."""

    data: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    flags: Sequence[str] = ()
    module: str = "headrace"
    url: str = ""
    plc_url: str = ""
    ops_url: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.data.with_name(self.data.name + ".log")

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    def start(self) -> Network:
        """Return when it has said `ready`; AssertionError with its log when it ends or stays silent."""
        arguments = [sys.executable, "-m", self.module, "up", "--json", "--data", str(self.data), *self.flags]
        # Free ports at first, the same ones at a restart: accounts' DID documents name them.
        for name, address in (("port", self.url), ("plc_port", self.plc_url), ("ops_port", self.ops_url)):
            arguments += ["--set", f"{name}={address.rpartition(':')[2] or 0}"]
        for name, value in self.settings.items():
            arguments += ["--set", f"{name}={value}"]
        environment = {**os.environ, **self.environment}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                arguments,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing is locked by a test's threads at this point
            )
        addresses = orjson.loads(self._line())
        self.url, self.plc_url, self.ops_url = addresses["xrpc"], addresses["plc"], addresses["ops"]
        assert self._line() == b"ready"
        return self

    def _line(self) -> bytes:
        assert self.process is not None
        assert self.process.stdout is not None
        until = time.monotonic() + READY_SECONDS
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 1) if readable else b""
            if not piece:
                self.kill()
                raise AssertionError(f"headrace up did not get ready:\n{self.log.read_text()[-4000:]}")
            line += piece
        return line.strip()

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM; the exit code. One that does not end in time is killed and the test fails."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no end within {timeout} s of SIGTERM:\n{self.log.read_text()[-4000:]}") from None
        self._close()
        return code

    def kill(self) -> None:
        """SIGKILL, as a power cut for the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._close()

    def wait_for_death(self, timeout: float = 60.0) -> int:
        """The exit code of a process that is to die by itself (a crash point): -9 for SIGKILL."""
        assert self.process is not None
        code = self.process.wait(timeout)
        self._close()
        return code

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
