"""Workers as processes: started, killed, frozen, ended, and looked after. One that ends by itself is a failure."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tests.chaos.cluster.worker import Job
from tests.conftest import ROOT

READY_SECONDS = 60.0
END_SECONDS = 20.0


class Worker:
    """`name` is of the process; a worker that is started again under it has the same directory."""

    def __init__(self, name: str, job: Job, log: Path) -> None:
        self.name = name
        self.job = job
        self.log = log
        self.expected = False
        self._process: Process | None = None

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Returns when it said `ready`, or has ended before."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.cluster.worker", msgspec.json.encode(self.job).decode()),
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                env={**os.environ, **(environment or {})},
                cwd=ROOT,
            )
        self.expected = False
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            await self._process.stdout.readline()

    @property
    def code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.returncode

    async def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert await self.wait() == -signal.SIGKILL, f"{self.name} was not killed but ended: {self.last_words()}"

    async def end(self) -> float:
        """SIGTERM; the seconds it took. It has to end well."""
        started = time.monotonic()
        self._signal(signal.SIGTERM)
        code = await self.wait(END_SECONDS)
        assert code == 0, f"{self.name} ended with {code} after SIGTERM: {self.last_words()}"
        return time.monotonic() - started

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP, ends=False)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT, ends=False)

    async def wait(self, seconds: float = END_SECONDS) -> int:
        """Its exit code, once it has ended."""
        self.expected = True
        assert self._process is not None
        async with asyncio.timeout(seconds):
            return await self._process.wait()

    def last_words(self) -> str:
        return "\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def _signal(self, number: signal.Signals, *, ends: bool = True) -> None:
        assert self._process is not None
        assert self.code is None, f"{self.name} does not run: {self.last_words()}"
        self.expected = ends
        self._process.send_signal(number)


class Fleet:
    """All workers of one test."""

    def __init__(self, job: Job, directory: Path) -> None:
        self._job = job
        self._directory = directory
        self.workers: dict[str, Worker] = {}
        self._tended: set[str] = set()
        self.restarts = 0
        self._restarting: dict[str, asyncio.Task[None]] = {}

    def tend(self, *names: str) -> None:
        """From now on these, when they fail (1), are started again, as whatever runs them would do; it is counted."""
        self._tended.update(names)

    def worker(self, name: str) -> Worker:
        """`name` is "<role>-<anything>"."""
        if name not in self.workers:
            own = self._directory / name
            own.mkdir(parents=True, exist_ok=True)
            job = msgspec.structs.replace(self._job, role=name.partition("-")[0], directory=str(own))
            self.workers[name] = Worker(name, job, self._directory / f"{name}.log")
        return self.workers[name]

    async def start(self, *names: str) -> None:
        await asyncio.gather(*(self.worker(name).start() for name in names))

    def running(self, role: str) -> list[Worker]:
        return [each for each in self.workers.values() if each.job.role == role and each.code is None]

    def check(self) -> None:
        """Raises when a worker ended that nobody has ended."""
        for name, task in list(self._restarting.items()):
            if task.done():
                del self._restarting[name]
                task.result()
        for name, worker in self.workers.items():
            if name in self._tended and worker.code == 1 and not worker.expected and name not in self._restarting:
                self.restarts += 1
                self._restarting[name] = asyncio.create_task(worker.start())
            if name in self._restarting:
                continue
            assert worker.code is None or worker.expected, (
                f"{worker.name} ended by itself with {worker.code}: {worker.last_words()}"
            )

    async def close(self) -> None:
        for task in self._restarting.values():
            task.cancel()
        await asyncio.gather(*self._restarting.values(), return_exceptions=True)
        for worker in self.workers.values():
            if worker.code is None and worker._process is not None:
                worker._process.kill()
                await worker.wait()
