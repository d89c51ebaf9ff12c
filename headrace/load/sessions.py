"""Sessions: somebody opens, scrolls by cursor, looks at a thread, likes, leaves.

They begin when they are due. Within one, a step is due so long after the answer before it: that is what a person does.
Does not own the steps' requests (`calls.py`).
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import msgspec

from headrace.load import judge
from headrace.load.calls import LIKE, Calls
from headrace.load.means import Means
from headrace.load.plan import Sessions
from headrace.load.world import about

_PAGE = 30
_MOST = 4_096  # at once; what comes beyond is dropped and counted


class Visiting:
    """All sessions of one process."""

    def __init__(self, sessions: Sessions, means: Means, rng: random.Random) -> None:
        world = means.world
        self._plan, self._world, self._pool, self._recorder = sessions, world, means.pool, means.recorder
        self._tally, self._rng, self._own = means.tally, rng, means.own
        self._calls = Calls(means.pool.header)
        self._numbers = {post.uri: number for number, post in enumerate(world.posts)}
        self._open: set[asyncio.Task[None]] = set()

    def fire(self, due: float) -> None:
        """Somebody comes."""
        if len(self._open) >= _MOST:
            self._recorder.dropped("getTimeline", due)
            return
        task = asyncio.get_running_loop().create_task(self._visit(due, self._rng.choice(self._own)))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def leave(self) -> None:
        """Everybody goes."""
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _visit(self, due: float, number: int) -> None:
        account = self._world.accounts[number]
        seen: set[tuple[str, str]] = set()
        cursor = ""
        await self._step("getProfile", self._calls.profile(account.token, account.did), due)
        for page in range(self._plan.pages):
            due = await self._pause()
            body = await self._step("getTimeline", self._calls.timeline(account.token, _PAGE, cursor), due)
            if body is None:
                return
            answer = msgspec.json.decode(body)
            feed = answer.get("feed", [])
            keys = {judge.key(item) for item in feed}
            again = f"page {page + 1} shows {min(keys & seen)} again" if keys & seen else None
            self._recorder.checked("pages of a timeline do not overlap", again)
            seen |= keys
            if feed and self._rng.random() < self._plan.likes:
                await self._like(number, self._rng.choice(feed)["post"])
            if feed and page == 0:
                uri = str(self._rng.choice(feed)["post"]["uri"])
                await self._step("getPostThread", self._calls.thread(account.token, uri), await self._pause())
            cursor = str(answer.get("cursor", ""))
            if not cursor:
                return

    async def _like(self, number: int, post: dict[str, Any]) -> None:
        known = self._numbers.get(str(post["uri"]))
        if known is None or not self._tally.take("like", number, known):
            return
        account, subject = self._world.accounts[number], self._world.posts[known]
        due = await self._pause()
        request = self._calls.create_record(account.token, account.did, about(LIKE, subject))
        await self._step("createRecord", request, due, subject.uri)

    async def _pause(self) -> float:
        """When the next step is due, which is now."""
        mean = self._plan.think
        due = time.monotonic() + (self._rng.expovariate(1 / mean) if mean else 0.0)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        return due

    async def _step(self, operation: str, request: bytes, due: float, liked: str = "") -> bytes | None:
        status, body, error = await self._pool.ask(request)
        kind = "" if status == 200 else error or f"http_{status}"
        if liked:
            self._tally.did("like", liked, 1, kind)
        if kind == "dropped":
            self._recorder.dropped(operation, due)
        elif kind:
            self._recorder.failed(operation, due, kind)
        else:
            self._recorder.answered(operation, due)
        return None if kind else body
