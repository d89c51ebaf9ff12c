"""Looks at processes and at the target's metrics, once a second: CPU, memory, descriptors, lag and freshness.

Does not own which processes there are (`target.py`, `clients.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable

import aiohttp
import psutil

from headrace.load.result import Lag, Process, Sample

_BEHIND, _SECONDS = "headrace_views_behind_entries", "headrace_views_freshness_seconds"
_LINE = re.compile(r"^([a-z_]+)(?:\{[^}]*\})? ([0-9.eE+-]+)$", re.MULTILINE)
_TIMEOUT = aiohttp.ClientTimeout(total=2)
_LOOKS = aiohttp.ClientTimeout(total=60)  # at the broker and the store
_MOST = 20_000  # samples of a process: five hours and a half


class Sampler:
    """`pids` are asked each time: processes come and go. `begin` is of CLOCK_MONOTONIC."""

    def __init__(self, pids: Callable[[], dict[str, int]], ops: Callable[[], list[str]], begin: float) -> None:
        self._pids, self._ops, self._begin = pids, ops, begin
        self._known: dict[int, psutil.Process] = {}
        self._samples: dict[str, list[Sample]] = {}
        self.lags: list[Lag] = []
        self._session: aiohttp.ClientSession | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as self._session:
            while True:
                due = time.monotonic() + 1.0
                self._look()
                await self.ask()
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    def restart(self, begin: float) -> None:
        """Forget what was seen, and count from another moment."""
        self._begin = begin
        self._samples.clear()
        self.lags.clear()

    def processes(self) -> list[Process]:
        return [Process(name, samples) for name, samples in self._samples.items()]

    async def ask(self) -> Lag | None:
        """What the metrics say now, if they are there; each process of a cluster that says it speaks of the whole."""
        session = self._session
        if session is None:
            return None
        said = await asyncio.gather(*(self._said(session, each) for each in self._ops()))
        found = [each for each in said if _BEHIND in each]
        if not found:
            return None
        seconds = max(each.get(_SECONDS, 0.0) for each in found)
        lag = Lag(self._now(), max(each[_BEHIND] for each in found), seconds)
        if len(self.lags) < _MOST:
            self.lags.append(lag)
        return lag

    async def ask_afresh(self) -> Lag | None:
        """As `ask`, after each process has looked anew: the metrics of a cluster are those of its last look."""
        session = self._session
        if session is None:
            return None
        try:
            for ops in self._ops():
                async with session.get(f"{ops}/status", timeout=_LOOKS) as response:
                    await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None  # the target's deaths are counted elsewhere
        return await self.ask()

    async def _said(self, session: aiohttp.ClientSession, ops: str) -> dict[str, float]:
        try:
            async with session.get(f"{ops}/metrics") as response:
                text = await response.text() if response.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError, OSError):
            return {}  # the target's deaths are counted elsewhere
        return {name: float(value) for name, value in _LINE.findall(text) if name in {_BEHIND, _SECONDS}}

    def last(self) -> dict[str, Sample]:
        return {name: samples[-1] for name, samples in self._samples.items() if samples}

    def _look(self) -> None:
        for name, pid in self._pids().items():
            # One that has just ended is missed, not an error.
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process = self._known.get(pid)
                if process is None:
                    process = self._known[pid] = psutil.Process(pid)
                    process.cpu_percent()  # the first look only sets the mark
                    continue
                with process.oneshot():
                    cpu, rss, fds = process.cpu_percent() / 100, process.memory_info().rss, process.num_fds()
                kept = self._samples.setdefault(name, [])
                if len(kept) < _MOST:
                    kept.append(Sample(self._now(), cpu, rss, fds))

    def _now(self) -> float:
        return round(time.monotonic() - self._begin, 2)
