"""How accounts stand to one another, as far as one request has asked: who follows and who blocks whom. HOT.

Does not own what follows from it (`appview.rules`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from itertools import chain
from typing import Any

from views import blocked_by, blocks_by_actor, followed_by, follows_by_actor
from views.store import Store

Pair = tuple[str, str]
"""(who follows or blocks, whom)"""
Read = Callable[[], Coroutine[Any, Any, None]]

_BLOCK_URI, _BLOCKED_URI = blocks_by_actor.TABLE.index("uri"), blocked_by.TABLE.index("uri")
_FOLLOWED_URI = followed_by.TABLE.index("uri")
_MANY = 3  # pairs of one account


class Relations:
    """The URI of the follow or block that counts, of each pair that was asked for; None where there is none."""

    __slots__ = ("_store", "_viewer", "blocked", "blocks", "follows")

    def __init__(self, store: Store, viewer: str | None) -> None:
        self._store = store
        self._viewer = viewer
        self.follows: dict[Pair, str | None] = {}
        self.blocks: dict[Pair, str | None] = {}
        # Whom the viewer blocks or is blocked by, of all that are in `blocks`.
        self.blocked: set[str] = set()

    def missing_blocks(self, dids: Iterable[str], pairs: Iterable[Pair]) -> list[Any]:
        """What is to be read of blocks between the viewer and these accounts, and between these pairs, either way."""
        work: list[Any] = []
        viewer = self._viewer
        # Nobody stands to themselves in any way, whatever records say.
        ours = [] if viewer is None else [(viewer, did) for did in dids if did != viewer]
        blocks = self.blocks
        wanted = dict.fromkeys([pair for pair in pairs if pair[0] != pair[1]])
        many = Counter([pair[0] for pair in wanted])
        blocking: dict[Pair, None] = {}
        blocked: dict[Pair, None] = {}
        for pair in chain(ours, wanted):
            one, other = pair
            back = (other, one)
            if pair not in blocks and back not in blocked:
                blocking[pair] = None
            if back not in blocks and back not in blocking:
                # Both ways of all who stand to one account are in two partitions of its own.
                if one == viewer or many[one] >= _MANY:
                    blocked[pair] = None
                else:
                    blocking[back] = None
        if blocking:
            work.append(self._fetch_blocking(list(blocking)))
        if blocked:
            work.append(self._fetch_blocked(list(blocked)))
        return work

    def missing_own_follows(self, dids: Iterable[str]) -> list[Read]:
        """What is to be read of follows between the viewer and these accounts, either way."""
        viewer = self._viewer
        if viewer is None:
            return []
        others = [did for did in dids if did != viewer]
        return self.missing_follows([(viewer, did) for did in others], [(did, viewer) for did in others])

    def missing_follows(self, following: Iterable[Pair], followed: Iterable[Pair]) -> list[Read]:
        """`following` are looked for in the partition of who follows, `followed` in those of who is followed."""
        follows = self.follows
        work: list[Read] = []
        missing = [pair for pair in following if pair not in follows]
        if missing:
            work.append(partial(self._fetch_following, missing))
        missing = [pair for pair in followed if pair not in follows]
        if missing:
            work.append(partial(self._fetch_followed, missing))
        return work

    async def _fetch_following(self, pairs: list[Pair]) -> None:
        rows = await self._store.get_many(follows_by_actor.TABLE, pairs)
        uri = follows_by_actor.uri
        self.follows.update([(pair, None if row is None else uri(row)) for pair, row in zip(pairs, rows, strict=True)])

    async def _fetch_followed(self, pairs: list[Pair]) -> None:
        rows = await self._store.get_many(followed_by.TABLE, [followed_by.key(whom, who) for who, whom in pairs])
        self.follows.update(
            [(pair, None if row is None else row[_FOLLOWED_URI]) for pair, row in zip(pairs, rows, strict=True)]
        )

    async def _fetch_blocking(self, pairs: list[Pair]) -> None:
        """Whether the first of a pair blocks the other."""
        rows = await self._store.get_many(blocks_by_actor.TABLE, pairs)
        for pair, row in zip(pairs, rows, strict=True):
            self._found(pair, None if row is None else row[_BLOCK_URI])

    async def _fetch_blocked(self, pairs: list[Pair]) -> None:
        """Whether the first of a pair is blocked by the other."""
        rows = await self._store.get_many(blocked_by.TABLE, pairs)
        for (one, other), row in zip(pairs, rows, strict=True):
            self._found((other, one), None if row is None else row[_BLOCKED_URI])

    def _found(self, pair: Pair, uri: str | None) -> None:
        self.blocks[pair] = uri
        if uri is not None:
            who, whom = pair
            if self._viewer == who:
                self.blocked.add(whom)
            elif self._viewer == whom:
                self.blocked.add(who)
