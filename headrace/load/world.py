"""The population that clients act as: accounts with their tokens, who follows whom, posts to look at and to like.

Written to a private file for the client processes, never into a result. Does not own how it is made (`population.py`).
"""

from __future__ import annotations

import random
from bisect import bisect
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ingest.pds.secrets import write_private

_WORDS = (
    *("water", "wheel", "mill", "race", "river", "stone", "weir", "sluice", "grain", "flour", "village", "morning"),
    *("bridge", "lock", "reed", "heron", "Wasser", "rio", "水", "川", "ponte", "moulin", "🌊", "🦢"),
)


class Account(Struct, frozen=True, array_like=True):
    did: str
    handle: str
    token: str


class Post(Struct, frozen=True, array_like=True):
    uri: str
    cid: str
    author: int


class World(Struct):
    """The whole of it. Posts are hottest first.

    `followers[i]` are the numbers of those who follow account i. `likes` (of a post's uri) and `liked` (number of the
    account times posts, plus number of the post) are what the set-up did.
    """

    tag: str
    accounts: list[Account]
    followers: list[list[int]]
    posts: list[Post]
    likes: dict[str, int]
    liked: list[int]

    def save(self, path: Path) -> None:
        write_private(path, msgspec.msgpack.encode(self))

    @classmethod
    def load(cls, path: Path) -> World:
        return msgspec.msgpack.decode(path.read_bytes(), type=cls)


class Ranks:
    """Draws 0..count-1, where rank r has the weight (r + 1) ** -exponent."""

    def __init__(self, count: int, exponent: float) -> None:
        self._sums = list(accumulate((rank + 1) ** -exponent for rank in range(count)))

    def draw(self, rng: random.Random) -> int:
        return min(bisect(self._sums, rng.random() * self._sums[-1]), len(self._sums) - 1)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text(rng: random.Random) -> str:
    """About as long as posts are: 8 to 30 words, in several scripts."""
    return " ".join(rng.choices(_WORDS, k=rng.randint(8, 30)))


def post(rng: random.Random, **more: Any) -> dict[str, Any]:
    return {"$type": "app.bsky.feed.post", "text": text(rng), "createdAt": now(), "langs": ["en"], **more}


def about(collection: str, post_: Post) -> dict[str, Any]:
    """A like or a repost."""
    return {"$type": collection, "subject": {"uri": post_.uri, "cid": post_.cid}, "createdAt": now()}


def follow(did: str) -> dict[str, Any]:
    return {"$type": "app.bsky.graph.follow", "subject": did, "createdAt": now()}
