"""What the lanes of one worker wait for: `python -m tests.bench.cluster_waits [--events N] [--rate N]`.

Derive and a worker as processes over a broker and a store, as `tests.bench.cluster` runs them: as many events as there
are, then so many a second while one author's posts are looked for in a follower's timeline.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from pathlib import Path

import uvloop

from tests.bench.cluster import FOLLOWS, Bench
from tests.bench.cluster_parts import spent, stack


class Waits(Bench):
    """The part of the bench that this is about."""

    def __init__(self, servers: str, cql: str, folder: Path, events: int, rate: int) -> None:
        super().__init__(servers, cql, folder)
        self._events = events
        self._rate = rate

    async def _measure(self) -> None:
        said = self.folder / "phases"
        self.start("derive")
        worker = self.start("process", environment={"HEADRACE_BENCH_PHASES": str(said)})

        async def show(what: str) -> None:
            had = said.stat().st_size if said.exists() else 0
            worker.send_signal(signal.SIGUSR1)
            while not said.exists() or said.stat().st_size == had:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
            print(f"-- {what}\n{said.read_text()[had:]}", flush=True)

        await self.send(self.world.beginning(FOLLOWS))
        await self.shown()
        await show("the beginning")
        before = spent(worker)
        self.say("commit_to_view", await self.rate([*self.world.events(self._events)]), "events/s")
        self.say("cpu_worker", (spent(worker) - before) / self._events * 1e6, "us/event")
        await show("events")
        await self._write_to_timeline(self._rate)
        await show(f"{self._rate} events a second")
        worker.terminate()
        await asyncio.to_thread(worker.wait)


async def measure(servers: str, cql: str, folder: Path, options: argparse.Namespace) -> None:
    await Waits(servers, cql, folder, options.events, options.rate).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--rate", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-", ignore_cleanup_errors=True) as held:
        folder = Path(held)
        with stack(folder) as (servers, cql):
            uvloop.run(measure(servers, cql, folder, options))


if __name__ == "__main__":
    main()
