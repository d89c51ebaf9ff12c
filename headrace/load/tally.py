"""What has been done to posts, so that counts can be compared with it: each subject's bounds, and who did it already.

An answer that never came leaves a write undecided: it widens the bounds. Does not own the comparison (`final.py`).
"""

from __future__ import annotations

from headrace.load.world import World

# The server may have done it all the same.
UNDECIDED = ("timeout", "cut", "reset", "malformed", "unasked", "http_5")


class Tally:
    """Of one client process, over the world's posts. One bit for each account and post says who liked what."""

    def __init__(self, world: World) -> None:
        self._posts = len(world.posts)
        self._known = {post.uri for post in world.posts}
        size = (len(world.accounts) * self._posts + 7) // 8
        self._bits = {"like": bytearray(size), "repost": bytearray(size)}
        for each in world.liked:
            self._bits["like"][each >> 3] |= 1 << (each & 7)
        self._bounds: dict[tuple[str, str], list[int]] = {}

    def take(self, kind: str, account: int, post: int) -> bool:
        """Whether this account may like or repost the post: once, whatever comes of it."""
        bits, at = self._bits[kind], account * self._posts + post
        if bits[at >> 3] >> (at & 7) & 1:
            return False
        bits[at >> 3] |= 1 << (at & 7)
        return True

    def did(self, kind: str, uri: str, change: int, error: str) -> None:
        """A write that adds or takes away one was answered: well (''), or with an error."""
        if uri not in self._known:
            return
        low, high = self._bounds.setdefault((kind, uri), [0, 0])
        undecided = error.startswith(UNDECIDED)
        if not error or (undecided and change < 0):
            low += change
        if not error or (undecided and change > 0):
            high += change
        self._bounds[kind, uri] = [low, high]

    def counts(self) -> list[tuple[str, str, int, int]]:
        return [(kind, uri, low, high) for (kind, uri), (low, high) in self._bounds.items()]
