"""An account that a player makes famous: some of the target's own people follow it too, and what they are shown of it.

Everything about it is known from the plan's seed: who it is, what it posts and when, how many like it. Does not own
what happens around it (`synthesis/fame.py`) nor how it is played (`players.py`, `upstream.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

import msgspec

from headrace.load.calls import Calls
from headrace.load.checks import WHAT as SHOWN
from headrace.load.final import shown_times
from headrace.load.messages import Checked
from headrace.load.plan import Players
from headrace.load.player import PlayerError
from headrace.load.result import Player
from headrace.load.series import Series
from headrace.load.synthesis.accounts import Accounts
from headrace.load.synthesis.fame import FAMOUS, post_uri
from headrace.load.synthesis.steps import Population
from headrace.load.wire import Pool
from headrace.load.world import World, follow

_FANS = 20  # of the target's own people
_TRIES, _PAUSE = 5, 1.0  # a view may be a moment behind its lag's metric
COUNTED = "who is known to all has all their follows and likes"


class Famous:
    """Of one player."""

    def __init__(self, players: Players, seed: int) -> None:
        self._others = players.followers
        self._population = Population(seed, players.followers + 1, 0, famous=True)
        self.did = f"{Accounts(seed).did(FAMOUS)}"  # plain text, which encoders take
        self.fans = 0

    async def follow(self, url: str, world: World) -> None:
        """The first of the target's own people follow it. Raises PlayerError."""
        self.fans = min(_FANS, len(world.accounts))
        pool = Pool(url, limit=4, timeout=60.0)
        calls = Calls(pool.header)
        try:
            for account in world.accounts[: self.fans]:
                request = calls.create_record(account.token, account.did, follow(self.did))
                status, _, error = await pool.ask(request)
                if status != 200:
                    raise PlayerError(f"a follow of {self.did} was answered {error or status}")
        finally:
            await pool.close()

    async def check(self, url: str, world: World, player: Player, series: Series) -> None:
        """When the views have seen everything: counts, and the timelines of the fans. Says it to the series."""
        pool = Pool(url, limit=4, timeout=60.0)
        calls = Calls(pool.header)
        token = world.accounts[0].token
        posts = list(self._posts(player.sent))
        try:
            series.check(await self._counted(pool, calls, token, posts, player.sent - player.accepted))
            for number in range(self.fans):
                for uri, _ in posts:
                    times = await shown_times(pool, calls, world.accounts[number].token, uri)
                    if times is not None:
                        wrong = [] if times == 1 else [f"{SHOWN}: {uri} is there {times} times for fan {number}"]
                        series.check(Checked({SHOWN: 1}, {SHOWN: 1} if wrong else {}, wrong))
        finally:
            await pool.close()

    def _posts(self, sent: int) -> Iterator[tuple[str, int]]:
        """What it had posted after so many events, and how many had liked each."""
        each = self._others + 1
        for number in range(-(-sent // each)):
            likes = min(self._others, sent - 1 - number * each)
            yield post_uri(self._population, self.did, number), likes

    async def _counted(
        self, pool: Pool, calls: Calls, token: str, posts: list[tuple[str, int]], missing: int
    ) -> Checked:
        """`missing` events were sent and not taken: so many likes may be absent."""
        details: list[str] = []
        made = 0
        for _ in range(_TRIES):
            details, made = [], 0
            status, body, error = await pool.ask(calls.profile(token, self.did))
            if status != 200:
                return Checked({}, {}, [f"{COUNTED}: getProfile was answered {error or status}"])
            found = int(msgspec.json.decode(body).get("followersCount", -1))
            made += 1
            if found != self._others + self.fans:
                details.append(f"{COUNTED}: expected {self._others + self.fans} followers, found {found}")
            left = iter(posts)
            while page := dict(islice(left, 25)):
                status, body, error = await pool.ask(calls.posts(token, list(page)))
                if status != 200:
                    return Checked({}, {}, [f"{COUNTED}: getPosts was answered {error or status}"])
                counts = {each["uri"]: each.get("likeCount", -1) for each in msgspec.json.decode(body)["posts"]}
                for uri, likes in page.items():
                    made += 1
                    if not likes - missing <= counts.get(uri, -1) <= likes:
                        details.append(f"{COUNTED}: expected {likes} likes of {uri}, found {counts.get(uri)}")
            if not details:
                break
            await asyncio.sleep(_PAUSE)
        return Checked({COUNTED: made}, {COUNTED: len(details)} if details else {}, details[:10])
