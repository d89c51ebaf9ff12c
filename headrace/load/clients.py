"""The client processes of a run: started, listened to, and ended with it, whatever becomes of them.

Does not own what they do (`client_process.py`) nor the numbers (`series.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from headrace.load.messages import Cell, Checked, Finished, Job, Tallies, Unseen, decode, encode
from headrace.load.plan import Plan
from headrace.load.series import Series
from schemas.errors import InvariantError

_LINE = 256 * 1024 * 1024  # bytes; a second of one operation, or all tallies
_END_SECONDS = 5.0


class Clients:
    """All of them. `tallies` are complete when `finished` returns."""

    def __init__(self, plan: Plan, url: str, world: Path, series: Series) -> None:
        self._plan, self._url, self._world, self._series = plan, url, world, series
        self._processes: list[Process] = []
        self._listening: list[asyncio.Task[None]] = []
        self.tallies: dict[tuple[str, str], tuple[int, int]] = {}
        self.unseen: list[tuple[str, int]] = []
        self.sent = 0

    @property
    def pids(self) -> dict[str, int]:
        return {f"client {number}": each.pid for number, each in enumerate(self._processes, 1)}

    async def start(self, begin: float) -> None:
        """`begin` is a moment of CLOCK_MONOTONIC that leaves them time to start."""
        count = self._plan.load.processes
        for index in range(count):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "headrace.load.client_process"), stdin=PIPE, stdout=PIPE, limit=_LINE
            )
            self._processes.append(process)
            job = Job(self._plan, self._url, str(self._world), index, count, begin)
            assert process.stdin is not None
            process.stdin.write(encode(job) + b"\n")
            self._listening.append(asyncio.create_task(self._listen(process)))

    def stop(self) -> None:
        """They say what they have and end."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()

    async def finished(self) -> None:
        """Returns when all have ended. Raises InvariantError when one did without a last word."""
        await asyncio.gather(*self._listening)

    async def close(self) -> None:
        """Nothing of them is left afterwards."""
        self.stop()
        for process in self._processes:
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)

    async def _listen(self, process: Process) -> None:
        assert process.stdout is not None
        ended = False
        while line := await process.stdout.readline():
            word = decode(line)
            if isinstance(word, Cell):
                self._series.take(word)
            elif isinstance(word, Checked):
                self._series.check(word)
            elif isinstance(word, Tallies):
                for kind, uri, low, high in word.counts:
                    known = self.tallies.get((kind, uri), (0, 0))
                    self.tallies[kind, uri] = (known[0] + low, known[1] + high)
            elif isinstance(word, Unseen):
                self.unseen += word.posts
            elif isinstance(word, Finished):
                self.sent += word.sent
                ended = True
        code = await process.wait()
        if not ended or code:
            raise InvariantError(f"a client process ended with {code} before its load did; its words are on stderr")
