"""Runs a plan from beginning to end, and gives its result whatever happens to the target.

Set up the target and its population, load it, break it as the plan says, look each second, look again when it is over.
Does not own any of these (`target.py`, `population.py`, `clients.py`, `players.py`, `sampling.py`, `final.py`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from headrace.load import machine
from headrace.load.clients import Clients
from headrace.load.criteria import verdicts
from headrace.load.final import compare_counts, look_again, settled
from headrace.load.plan import Plan
from headrace.load.plays import Plays
from headrace.load.population import Builder
from headrace.load.progress import Progress, State
from headrace.load.result import Checks, Event, Player, Result
from headrace.load.sampling import Sampler
from headrace.load.series import Series
from headrace.load.target import RunningTarget, TargetError
from headrace.load.world import World

_START_SECONDS = 3.0  # for client processes to be there when the load begins
_GRACE = 3.0  # seconds of errors that are counted after a target has died for good
_SET_UP_SETTLES = 900.0
T = TypeVar("T")


class StoppedError(Exception):
    """The run was told to end before there was a load."""


class Run:
    """One run. `folder` is its own and private; `stop` ends the load early, and the report says so."""

    def __init__(
        self,
        plan: Plan,
        url: str,
        folder: Path,
        progress: Progress,
        stop: asyncio.Event,
        *,
        named: dict[str, int] | None = None,
        short: bool = False,
    ) -> None:
        self._plan, self._folder, self._progress, self._stop, self._short = plan, folder, progress, stop, short
        self._target = RunningTarget(plan.target, url, folder, named or {})
        self._begin = 0.0
        restarts = (fault.process for fault in plan.faults if fault.do == "restart")
        self._restarts = Counter(map(self._target.named, restarts))  # still to be done
        self._is_cut = False
        self._events: list[Event] = []
        self._notes: list[str] = []
        self._players: list[Player] = []
        self.series = Series(plan.judged_from, plan.load.timeout + 3)

    async def result(self) -> Result:
        """Raises TargetError, SetUpError, PlayerError, StoppedError: then there was no load, and nothing to report."""
        facts = machine.facts()
        try:
            async with Plays(self._plan, self._folder, self._progress.say) as plays:
                await self._unless_stopped(self._start(plays))
                found = await self._loaded(facts, plays)
        finally:
            await self._target.close()
            for name in self._target.taken_away:
                self._progress.say(f"took away the cluster {name} of a run that was killed")
            for words in self._target.left_behind:
                self._progress.say(words)
        return msgspec.structs.replace(found, notes=[*found.notes, *self._target.left_behind])

    async def _start(self, plays: Plays) -> None:
        await self._target.start(await plays.serve())

    async def _loaded(self, facts: dict[str, str], plays: Plays) -> Result:
        plan, begun = self._plan, time.monotonic()
        tag = f"t{secrets.token_hex(4)}"
        world = await self._unless_stopped(Builder(plan, self._target.url, tag, self._progress.say).build())
        made = time.monotonic() - begun
        world.save(self._folder / "world")
        await self._unless_stopped(plays.prepare(self._target, world))
        started = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._begin = time.monotonic() + _START_SECONDS
        clients = Clients(plan, self._target.url, self._folder / "world", self.series)
        sampler = Sampler(lambda: {**self._target.pids, **clients.pids}, lambda: self._target.ops, self._begin)
        tasks = [asyncio.create_task(sampler.run())]
        settled_seconds = None
        try:
            await self._unless_stopped(self._ready(sampler))
            self._begin = time.monotonic() + _START_SECONDS
            sampler.restart(self._begin)
            await clients.start(self._begin)
            breaking = asyncio.create_task(self._break())
            tasks += [breaking, *(asyncio.create_task(each) for each in (self._watch(clients), self._show(sampler)))]
            players = plays.begin(self._target, self._begin)
            await clients.finished()
            ended = min(time.monotonic() - self._begin, plan.load.seconds)
            if not self._is_cut:
                await asyncio.wait((breaking,))  # a process may take longer to start again than the load goes on
            await self._rest(players)
            if not self._target.dead:
                if self._target.ops:
                    settled_seconds = await settled(sampler.ask_afresh, plan.load.settle)
                if self._target.ops and settled_seconds is None:
                    self._notes.append("the views had not seen everything when the run ended: nothing was compared")
                else:
                    await plays.check(self._target.url, world, self._players, self.series)
                if plan.checks is not None and not (self._target.ops and settled_seconds is None):
                    await look_again(self._target.url, world, clients.unseen, self.series)
                    await compare_counts(self._target.url, world, clients.tallies, plan.checks.posts, self.series)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            await clients.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end
        judged = max(0.001, ended - plan.judged_from)
        found = Result(
            plan=plan,
            short=self._short,
            begun=started,
            seconds=round(ended, 3),
            judged_seconds=round(judged, 3),
            target=self._target.url,
            machine=facts,
            versions=machine.versions(),
            set_up=_set_up(world, made),
            operations=self.series.operations(judged),
            errors=self.series.errors_by_second(),
            checks=Checks(dict(self.series.made), dict(self.series.failed), self.series.details),
            lateness=self.series.lateness(),
            processes=sampler.processes(),
            lags=sampler.lags,
            events=self._events,
            players=self._players,
            settled_seconds=settled_seconds,
            verdicts=[],
            notes=self._notes,
        )
        return found.with_verdicts(verdicts(found))

    async def _unless_stopped(self, step: Coroutine[Any, Any, T]) -> T:
        """What a step of the set-up gives. Raises StoppedError when told to stop before it is done."""
        working, stopping = asyncio.create_task(step), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise StoppedError("stopped before the load began: there is nothing to report")
            return working.result()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    async def _ready(self, sampler: Sampler) -> None:
        """The load begins when the set-up has passed through."""
        await asyncio.sleep(0.1)  # the sampler has its session
        if self._target.ops:
            took = await settled(sampler.ask_afresh, _SET_UP_SETTLES)
            self._progress.say(f"views have seen the set-up after {took:.1f} s" if took else "views are behind")

    async def _rest(self, players: list[asyncio.Task[Player]]) -> None:
        """Wait for players, which may be behind their rate; as long as the plan lets things settle."""
        if not players:
            return
        done, late = await asyncio.wait(players, timeout=self._plan.load.settle)
        for task in late:
            task.cancel()
            self._notes.append("a player was cut off: the target had not taken what was sent when the run ended")
        await asyncio.gather(*late, return_exceptions=True)
        self._players += [task.result() for task in done]

    async def _break(self) -> None:
        """Do the faults: of each process in their order, and none waits for another process to be there again."""
        names = dict.fromkeys(self._target.named(fault.process) for fault in self._plan.faults)
        await asyncio.gather(*(self._break_one(name) for name in names))

    async def _break_one(self, name: str) -> None:
        for fault in sorted(self._plan.faults, key=lambda each: each.at):
            if self._target.named(fault.process) == name:
                await asyncio.sleep(max(0.0, self._begin + fault.at - time.monotonic()))
                try:
                    self._note(await self._target.do(fault.do, name), planned=True)
                except TargetError as error:
                    self._note(f"{name} was not started again", planned=False)
                    self._notes.append(str(error))
                self._restarts[name] -= fault.do == "restart"

    async def _watch(self, clients: Clients) -> None:
        """End the load early when the target has died and nothing in the plan will start it again, or when told to."""
        noted: set[str] = set()
        while True:
            await asyncio.sleep(0.1)
            if self._stop.is_set():
                self._notes.append("the run was stopped early")
                break
            dead = self._target.dead
            for name in sorted(set(self._target.unexpectedly_dead) - noted):
                self._note(f"{name} ended by itself", planned=False)
                self._notes.append(f"the last words of {name}: {self._target.last_words()[-500:]}")
            noted = set(dead)
            if not dead:
                continue
            if not all(self._restarts[name] > 0 for name in dead):
                self._notes.append("the load was ended early: the target had died")
                await asyncio.sleep(_GRACE)
                break
        self._is_cut = True
        clients.stop()

    async def _show(self, sampler: Sampler) -> None:
        while True:
            second = int(time.monotonic() - self._begin)
            await asyncio.sleep(max(0.0, self._begin + second + 1 - time.monotonic()))
            self.series.close(second)
            if second < 0 or second > self._plan.load.seconds + 1:
                continue
            lag = sampler.lags[-1] if sampler.lags else None
            self._progress.show(
                State(
                    second + 1,
                    self._plan.load.seconds,
                    self.series.now(second - 1),
                    sum(sum(kinds.values()) for kinds in self.series.errors.values()),
                    self.series.dropped.total(),
                    (self.series.made.total(), self.series.failed.total()),
                    None if lag is None else lag.behind,
                    sampler.last(),
                    self._events[-1].what if self._events else "",
                )
            )

    def _note(self, what: str, *, planned: bool) -> None:
        self._events.append(Event(round(time.monotonic() - self._begin, 2), what, planned))
        self._progress.say(f"{self._events[-1].at:5.0f} s  {what}")


def _set_up(world: World, seconds: float) -> dict[str, float]:
    return {
        "accounts": float(len(world.accounts)),
        "follows": float(sum(map(len, world.followers))),
        "posts": float(len(world.posts)),
        "likes": float(len(world.liked)),
        "seconds": round(seconds, 2),
    }
