"""One broker or one store: a process that can be started, stopped, killed, frozen and thawed.

Blocks; asynchronous tests call it through `asyncio.to_thread`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

WATCH = Path(__file__).with_name("watch.py")
READY_SECONDS = 300.0  # a store of three on two loaded cores took 120
STOP_SECONDS = 20.0
POLL_SECONDS = 0.1


class NodeError(Exception):
    """A node ended, or was not ready in time: the message has the end of its log."""


class Node:
    """`probe` asks the node something as a client would; it raises OSError while the node is not ready."""

    def __init__(self, name: str, program: list[str], log: Path, probe: Callable[[], None]) -> None:
        self.name = name
        self.log = log
        self._program = program
        self._probe = probe
        self._watcher: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @property
    def pid(self) -> int | None:
        """The node's own process; None when it does not run."""
        return self._pid if self._watcher is not None and self._watcher.poll() is None else None

    def start(self, *, wait: bool = True) -> None:
        if self.pid is not None:
            raise NodeError(f"{self.name} runs already (pid {self._pid})")
        self._reap()
        self._watcher = subprocess.Popen(
            [sys.executable, "-S", "-E", str(WATCH), str(self.log), *self._program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for whoever owns the stack
        )
        assert self._watcher.stdout is not None
        self._pid = int(self._watcher.stdout.readline())
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            if self.pid is None:
                raise NodeError(f"{self.name} ended as it started. {self._last_words()}")
            try:
                return self._probe()
            except OSError as error:
                if time.monotonic() > deadline:
                    raise NodeError(
                        f"{self.name} not ready in {READY_SECONDS:.0f} s: {error}. {self._last_words()}"
                    ) from error
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """A clean end, or a kill when it takes too long."""
        if self.pid is not None:
            self.resume()
            os.kill(self._pid, signal.SIGTERM)
            assert self._watcher is not None
            try:
                self._watcher.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.kill(self._pid, signal.SIGKILL)
        self._reap()

    def kill(self) -> None:
        """SIGKILL: nothing is written any more. Returns when the process is gone."""
        self._signal(signal.SIGKILL)
        self._reap()

    def pause(self) -> None:
        """SIGSTOP: alive to the kernel, which still accepts its connections; dead to everybody who waits for it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is None:
            raise NodeError(f"{self.name} does not run: no {number.name} for it")
        os.kill(self._pid, number)

    def _reap(self) -> None:
        if self._watcher is not None:
            self._watcher.wait()
            for pipe in (self._watcher.stdin, self._watcher.stdout):
                assert pipe is not None
                pipe.close()
            self._watcher = None

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return f"{self.log} ends:\n" + "\n".join(lines[-15:])
