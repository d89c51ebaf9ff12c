"""One client process: does its part of a plan's load on time, and says each second what became of it.

`python -m headrace.load.client_process` reads a Job as one line of stdin and ends early when stdin closes, so that it
never outlives who started it. Does not own the parts (`readers.py`, `writers.py`, `sessions.py`, `checks.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import uvloop

from headrace.load.arrivals import arrivals, stream
from headrace.load.checks import Checking
from headrace.load.means import Means
from headrace.load.messages import Finished, Job, Tallies, Unseen, Word, encode
from headrace.load.readers import Reading
from headrace.load.recorder import Recorder
from headrace.load.sessions import Visiting
from headrace.load.tally import Tally
from headrace.load.wire import Pool
from headrace.load.world import World
from headrace.load.writers import Writing

_BURST = 32  # sends before answers are looked at
Fire = Callable[[float], None]


class Client:
    """Everything one process does."""

    def __init__(self, job: Job, world: World, say: Callable[[Word], None]) -> None:
        plan, load = job.plan, job.plan.load
        self._job, self._say = job, say
        self.recorder, self.tally = Recorder(job.begin), Tally(world)
        self.pool = Pool(job.url, limit=load.in_flight, timeout=load.timeout)
        own = list(range(job.index, len(world.accounts), job.of)) or [0]
        means = Means(plan, world, self.pool, self.recorder, self.tally, own)
        self._acts: list[tuple[str, float, Fire]] = []
        for name, readers in plan.readers.items():
            reading = Reading(readers, means, self._dice("reads", name))
            self._acts.append((f"readers.{name}", readers.rate, reading.fire))
        for number, (name, writers) in enumerate(plan.writers.items()):
            writing = Writing(writers, means, self._dice("writes", name), (number, job.index))
            self._acts.append((f"writers.{name}", writers.rate / writers.batch, writing.fire))
        self._visiting = self._checking = None
        if plan.sessions is not None:
            self._visiting = Visiting(plan.sessions, means, self._dice("visits"))
            self._acts.append(("sessions", plan.sessions.rate, self._visiting.fire))
        if plan.checks is not None:
            self._checking = Checking(plan.checks, means, self._dice("checks"))
            self._acts.append(("checks", 1 / plan.checks.every, self._checking.fire))

    async def run(self, stop: asyncio.Event) -> None:
        """Until the load's end, and until what is in flight is answered or out of time."""
        await self.pool.open_ahead(self._job.begin - 0.1)
        saying = asyncio.create_task(self._report())
        driving = asyncio.create_task(self._drive())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((driving, stopping), return_when=asyncio.FIRST_COMPLETED)
        if self._checking is not None:
            await self._checking.leave(0.0 if stop.is_set() else self._job.plan.load.timeout)
        if self._visiting is not None:
            await self._visiting.leave()
        if not stop.is_set():
            await self.pool.drained(self._job.plan.load.timeout + 1)
        for task in (driving, stopping, saying):
            task.cancel()
        ends = await asyncio.gather(driving, saying, return_exceptions=True)
        await self.pool.close()
        self._words()
        self._say(Tallies(self.tally.counts()))
        if self._checking is not None:
            self._say(Unseen(self._checking.unseen))
        self._say(Finished(self.recorder.sent))
        for end in ends:
            if isinstance(end, Exception):  # not the cancelled ones
                raise end

    def _dice(self, *names: object) -> random.Random:
        return stream(self._job.plan.seed, *names, self._job.index)

    def _due(self, number: int, name: str, rate: float) -> Iterator[tuple[float, int]]:
        load, job = self._job.plan.load, self._job
        dice = stream(job.plan.seed, "arrivals", name, job.index) if load.arrivals == "poisson" else None
        for at in arrivals(rate, load.seconds, load.ramp, dice, part=job.index, parts=job.of):
            yield at, number

    async def _drive(self) -> None:
        """Fire everything when it is due; what comes late is sent at once, and its lateness counted."""
        begin, clock, late = self._job.begin, time.monotonic, self.recorder.late
        fires = [fire for _, _, fire in self._acts]
        streams = [self._due(number, name, rate) for number, (name, rate, _) in enumerate(self._acts)]
        burst = 0
        for at, number in heapq.merge(*streams):
            due = begin + at
            wait = due - clock()
            if wait > 0:
                burst = 0
                await asyncio.sleep(wait)
            elif (burst := burst + 1) >= _BURST:
                burst = 0
                await asyncio.sleep(0)
            fires[number](due)
            late(due, clock() - due)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._words()

    def _words(self) -> None:
        for cell in self.recorder.drain():
            self._say(cell)
        checked = self.recorder.drain_checks()
        if checked is not None:
            self._say(checked)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=16 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    job = msgspec.json.decode(await reader.readline(), type=Job)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(1, "wb"))
    transport.set_write_buffer_limits(high=0)  # so that `drain` waits until all of it is said
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    world = World.load(Path(job.world))
    client = Client(job, world, lambda word: writer.write(encode(word) + b"\n"))
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    stop = asyncio.Event()
    watching = asyncio.create_task(_until_closed(reader, stop))
    await client.run(stop)
    watching.cancel()
    with contextlib.suppress(ConnectionError):  # who started it is gone
        await writer.drain()
    transport.close()
    await asyncio.sleep(0)


async def _until_closed(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    while await reader.read(1024):
        pass
    stop.set()


if __name__ == "__main__":
    uvloop.run(_main())
