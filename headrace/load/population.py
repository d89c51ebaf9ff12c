"""Sets a world up through a target's public interface: accounts, follows, posts, likes; so many requests at once.

Everything is drawn from the plan's seed; only the names of accounts carry a tag of the run, for a target that is there
already. Does not own what the world is (`world.py`).
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import msgspec

from headrace.load.arrivals import stream
from headrace.load.calls import LIKE, Calls
from headrace.load.plan import Plan
from headrace.load.wire import Pool
from headrace.load.world import Account, Post, Ranks, World, about, follow, post

_WRITES = 100  # of one applyWrites; the protocol allows 200
_TIMEOUT = 60.0
_MOST_LIKED = 2.0  # exponent that makes the few most-followed accounts known to nearly all

Say = Callable[[str], None]
T = TypeVar("T")


class SetUpError(Exception):
    """The target did not let the population be made: the message has its answer."""


class Builder:
    """Makes one world."""

    def __init__(self, plan: Plan, url: str, tag: str, say: Say) -> None:
        self._plan, self._tag, self._say = plan, tag, say
        self._rng = stream(plan.seed, "population")
        self._pool = Pool(url, limit=plan.population.at_once, timeout=_TIMEOUT)
        self._calls = Calls(self._pool.header)

    async def build(self) -> World:
        """Raises SetUpError."""
        try:
            return await self._build()
        finally:
            await self._pool.close()

    async def _build(self) -> World:
        size, rng = self._plan.population, self._rng
        accounts = await self._all("accounts", [self._join(number) for number in range(size.accounts)])
        chosen = _follows(size.accounts, size.follows, size.celebrities, rng)
        followers: list[list[int]] = [[] for _ in accounts]
        for follower, followed in enumerate(chosen):
            for each in followed:
                followers[each].append(follower)
        writes = {number: [follow(accounts[each].did) for each in each_] for number, each_ in enumerate(chosen)}
        await self._all("follows", self._batches(accounts, writes))
        texts = {number: [post(rng) for _ in range(size.posts)] for number in range(len(accounts))}
        made = await self._all("posts", self._batches(accounts, texts))
        posts = [Post(uri, cid, author) for batch in made for author, uri, cid in batch]
        # The hottest are those of the most followed; a shuffle within keeps one author from having all of them.
        posts.sort(key=lambda each: (-len(followers[each.author]) * rng.random(), each.author))
        world = World(self._tag, accounts, followers, posts, {}, [])
        if posts and size.likes:
            await self._like(world, size.likes)
        return world

    async def _like(self, world: World, each: int) -> None:
        ranks, writes = Ranks(len(world.posts), 1.0), {}
        for number in range(len(world.accounts)):
            chosen = sorted({ranks.draw(self._rng) for _ in range(each)})
            writes[number] = [about(LIKE, world.posts[rank]) for rank in chosen]
            for rank in chosen:
                world.liked.append(number * len(world.posts) + rank)
                uri = world.posts[rank].uri
                world.likes[uri] = world.likes.get(uri, 0) + 1
        await self._all("likes", self._batches(world.accounts, writes))

    async def _join(self, number: int) -> Account:
        handle = f"{self._tag}-{number}{self._plan.target.handle_domain}"
        request = self._calls.create_account(handle, secrets.token_urlsafe(12), self._plan.target.invite_code)
        answer = await self._ask(request, "createAccount")
        return Account(str(answer["did"]), handle, str(answer["accessJwt"]))

    def _batches(
        self, accounts: list[Account], writes: dict[int, list[dict[str, Any]]]
    ) -> list[Coroutine[Any, Any, list[tuple[int, str, str]]]]:
        return [self._write(number, accounts[number], records) for number, records in writes.items() if records]

    async def _write(self, number: int, account: Account, records: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
        made: list[tuple[int, str, str]] = []
        for start in range(0, len(records), _WRITES):
            request = self._calls.apply_writes(account.token, account.did, records[start : start + _WRITES])
            answer = await self._ask(request, "applyWrites")
            made += [(number, str(each["uri"]), str(each["cid"])) for each in answer["results"]]
        return made

    async def _ask(self, request: bytes, what: str) -> dict[str, Any]:
        status, body, error = await self._pool.ask(request)
        if status != 200:
            said = error or f"{status} {body[:200].decode(errors='replace')}"
            cure = ". Raise or switch off its rate limits for the test" if status == 429 else ""
            raise SetUpError(f"the target refused to let the population be made: {what} was answered {said}{cure}")
        found: dict[str, Any] = msgspec.json.decode(body)
        return found

    async def _all(self, what: str, steps: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """All of them, in order, `at_once` at a time; the first failure ends it."""
        waiting = list(enumerate(steps))[::-1]
        total, done = len(waiting), dict[int, T]()

        async def work() -> None:
            while waiting:
                number, step = waiting.pop()
                done[number] = await step
                if len(done) % 500 == 0:
                    self._say(f"setting up: {len(done)} of {total} {what}")

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._plan.population.at_once, total)):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            for _, step in waiting:
                step.close()
        self._say(f"set up: {total} {'accounts with ' if what != 'accounts' else ''}{what}")
        return [done[number] for number in range(total)]


def _follows(accounts: int, each: int, celebrities: int, rng: random.Random) -> list[list[int]]:
    """Whom each account follows: all celebrities (the first numbers), then others by rank, none twice, not itself."""
    ranks = Ranks(accounts, 1 / _MOST_LIKED)
    chosen = []
    for number in range(accounts):
        found = dict.fromkeys(other for other in range(min(celebrities, accounts)) if other != number)
        wanted = min(len(found) + each, accounts - 1)
        for _ in range(each * 8):
            if len(found) >= wanted:
                break
            other = ranks.draw(rng)
            if other != number:
                found[other] = None
        chosen.append(list(found))
    return chosen
