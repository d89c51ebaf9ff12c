"""Readers: requests of one mix that come when they are due, whoever waits.

Does not own when that is (`arrivals.py`) nor the connection (`wire.py`).
"""

from __future__ import annotations

import random
from itertools import accumulate

from headrace.load import judge
from headrace.load.calls import Calls
from headrace.load.means import Means
from headrace.load.plan import Readers
from headrace.load.world import Ranks

_LOOK_AT = 50  # one answer in so many is taken apart
_POSTS = 10  # of one getPosts


class Reading:
    """One table of `readers`. Who reads is anybody; what is read is heavy-tailed."""

    def __init__(self, plan: Readers, means: Means, rng: random.Random) -> None:
        world, pool = means.world, means.pool
        self._limit, self._world, self._pool, self._recorder, self._rng = plan.limit, world, pool, means.recorder, rng
        self._calls = Calls(pool.header)
        posts = any(each in plan.mix for each in ("getPostThread", "getPosts"))
        mix = plan.mix if world.posts or not posts else {"getTimeline": 1.0}
        self._names: list[str] = list(mix)
        self._sums = list(accumulate(mix.values()))
        self._people = Ranks(len(world.accounts), 0.5)
        self._ranks = Ranks(len(world.posts), 1.0) if world.posts else None
        self._count = 0
        # Made ahead: the same bytes each time.
        self._timelines = [self._calls.timeline(each.token, plan.limit) for each in world.accounts]

    def fire(self, due: float) -> None:
        """Ask, or count what could not be asked."""
        rng, recorder = self._rng, self._recorder
        names = self._names
        name = names[0] if len(names) == 1 else rng.choices(names, cum_weights=self._sums)[0]
        reader = rng.randrange(len(self._timelines))
        request, asked = (self._timelines[reader], "") if name == "getTimeline" else self._request(name, reader)
        self._count += 1
        looked_at = self._count % _LOOK_AT == 0

        def done(status: int, body: bytes, error: str) -> None:
            if status == 200:
                recorder.answered(name, due)
                if looked_at:
                    recorder.checked("answer is what was asked for", judge.read(name, asked, self._limit, body))
            else:
                recorder.failed(name, due, error or f"http_{status}")

        if not self._pool.send(request, done):
            recorder.dropped(name, due)

    def _request(self, name: str, reader: int) -> tuple[bytes, str]:
        world, token = self._world, self._world.accounts[reader].token
        if name in {"getAuthorFeed", "getProfile"}:
            did = world.accounts[self._people.draw(self._rng)].did
            make = self._calls.profile(token, did)
            return (make if name == "getProfile" else self._calls.author_feed(token, did, self._limit)), did
        assert self._ranks is not None
        if name == "getPostThread":
            uri = world.posts[self._ranks.draw(self._rng)].uri
            return self._calls.thread(token, uri), uri
        drawn = dict.fromkeys(world.posts[self._ranks.draw(self._rng)].uri for _ in range(_POSTS))
        return self._calls.posts(token, list(drawn)), " ".join(drawn)
