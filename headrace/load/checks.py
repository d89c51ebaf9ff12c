"""Follows posts into timelines: written through the PDS, each must show in its followers' timelines, exactly once.

The time from when the write was due until a follower's answer shows it is recorded as `write_to_timeline`. What is not
answered, or not shown in time, is an error of that operation; wrong is what is not there either when the views have
seen everything. Does not own counts (`tally.py`, `final.py`).
"""

from __future__ import annotations

import asyncio
import random
import time

import msgspec

from headrace.load import judge
from headrace.load.calls import Calls
from headrace.load.means import Means
from headrace.load.measures import VISIBLE
from headrace.load.plan import Checks
from headrace.load.world import post

_PAGE = 100
_FIRST, _LONGEST = 0.005, 0.2  # seconds between two looks
_UNSEEN = 100  # that are looked for again
_MOST = 64  # posts that are followed at once
WHAT = "a post is in its followers' timelines once"


class Checking:
    """Of one process."""

    def __init__(self, checks: Checks, means: Means, rng: random.Random) -> None:
        plan, world = means.plan, means.world
        self._checks, self._world, self._pool, self._recorder, self._rng = (
            checks,
            world,
            means.pool,
            means.recorder,
            rng,
        )
        self._calls = Calls(means.pool.header)
        followed = [number for number, each in enumerate(world.followers) if each]
        famous = [number for number in followed if number < plan.population.celebrities]
        self._authors = famous or followed
        self._open: set[asyncio.Task[None]] = set()
        self.unseen: list[tuple[str, int]] = []

    def fire(self, due: float) -> None:
        """Write a post and follow it."""
        if not self._authors:
            return
        if len(self._open) >= _MOST:
            self._recorder.dropped(VISIBLE, due)
            return
        task = asyncio.get_running_loop().create_task(self._follow(due, self._rng.choice(self._authors)))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def leave(self, seconds: float) -> None:
        """Those under way may end; they are cut after so long, undecided."""
        if self._open:
            await asyncio.wait(self._open, timeout=seconds)
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _follow(self, due: float, author: int) -> None:
        account, followers = self._world.accounts[author], self._world.followers[author]
        request = self._calls.create_record(account.token, account.did, post(self._rng))
        status, body, error = await self._pool.ask(request)
        if error == "dropped":
            self._recorder.dropped(VISIBLE, due)
            return
        if status != 200:
            self._recorder.failed(VISIBLE, due, error or f"http_{status}")
            return
        uri = str(msgspec.json.decode(body)["uri"])
        chosen = self._rng.sample(followers, min(len(followers), self._checks.followers))
        await asyncio.gather(*(self._look(due, uri, follower) for follower in chosen))

    async def _look(self, due: float, uri: str, follower: int) -> None:
        look = self._calls.timeline(self._world.accounts[follower].token, _PAGE)
        until, pause = time.monotonic() + self._checks.within, _FIRST
        answered = False
        while time.monotonic() < until:
            status, body, _ = await self._pool.ask(look)
            answered = status == 200
            if answered and uri.encode() in body:
                self._recorder.answered(VISIBLE, due)
                shown = [key for item in msgspec.json.decode(body)["feed"] if (key := judge.key(item)) == (uri, "")]
                wrong = None if len(shown) == 1 else f"{uri} is there {len(shown)} times for {follower}"
                self._recorder.checked(WHAT, wrong)
                return
            await asyncio.sleep(pause)
            pause = min(_LONGEST, pause * 1.5)
        self._recorder.failed(VISIBLE, due, "not_seen" if answered else "timeout")
        if answered and len(self.unseen) < _UNSEEN:  # late, or lost: known when nothing is behind
            self.unseen.append((uri, follower))
