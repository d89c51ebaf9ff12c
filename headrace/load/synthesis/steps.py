"""What a plan is asked for and what it gives: a population, its steps, and the posts that later steps may name.

Does not own what happens (`plan.py`) nor what it becomes (`repos.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

START = 1_767_571_200_000_000  # 2026-01-05T00:00:00Z, a Monday


class Population(NamedTuple):
    """What to make. `rate` is events a second of recorded time, None for what so many accounts do.

    `famous`: everybody follows the first account, and its posts are liked by all (`fame.py`).
    """

    seed: int
    accounts: int
    events: int
    rate: float | None = None
    start: int = START
    famous: bool = False


class Write(NamedTuple):
    """One operation of a commit: a path and its record, None to take it away. `record` is a value or its bytes."""

    path: str
    record: dict[str, Any] | bytes | None


class Step(NamedTuple):
    """One event of one account, at unix microseconds; every step's time is above the one's before.

    `found`: #identity and #account come before the commit. `status` is what an #account says (`active` among them),
    `renamed` counts the handle's changes, for an #identity.
    """

    time: int
    account: int
    writes: Sequence[Write] = ()
    found: bool = False
    status: str | None = None
    renamed: int | None = None


class Post:
    """What others need of a post."""

    __slots__ = ("account", "alive", "cid", "depth", "path", "rkey", "root")

    def __init__(self, account: int, rkey: str, cid: str, root: Post | None, depth: int) -> None:
        self.account = account
        self.rkey = rkey
        self.path = f"app.bsky.feed.post/{rkey}"
        self.cid = cid
        self.root = root
        self.depth = depth
        self.alive = True


class Window:
    """The last `size` of what was added, in a ring."""

    __slots__ = ("_at", "_items", "_size")

    def __init__(self, size: int) -> None:
        self._items: list[Post] = []
        self._at = 0
        self._size = size

    def add(self, post: Post) -> None:
        if len(self._items) < self._size:
            self._items.append(post)
            return
        self._items[self._at] = post
        self._at = (self._at + 1) % self._size

    def pick(self, u: float) -> Post | None:
        """Any of them, alike."""
        return self._items[int(u * len(self._items))] if self._items else None

    def recent(self, u: float) -> Post | None:
        """The newer the likelier."""
        held = len(self._items)
        return self._items[(self._at - 1 - int(u * u * held)) % held] if held else None
