"""How accounts stand to one another, as far as one request has asked: who follows and who blocks whom. HOT.

Does not own what follows from it (`appview.rules`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Final

from views import blocked_by, blocks_by_actor, followed_by, follows_by_actor
from views.store import Store
from views.table import Row

Pair = tuple[str, str]
"""(who follows or blocks, whom)"""
Read = Callable[[], Coroutine[Any, Any, None]]

_BLOCK_URI, _BLOCKED_URI = blocks_by_actor.TABLE.index("uri"), blocked_by.TABLE.index("uri")
_FOLLOWED_URI = followed_by.TABLE.index("uri")
_MANY = 3  # pairs of one account
_FEW: Final[Mapping[str, int]] = Counter()  # nobody has many


class Relations:
    """The URI of the follow or block that counts, of each pair that was asked for; None where there is none."""

    __slots__ = ("_remote", "_store", "_viewer", "blocked", "blocks", "follows")

    def __init__(self, store: Store, viewer: str | None, *, remote: bool) -> None:
        """`remote`: a partition costs a statement there, so that both ways are read in the partitions of one account.

        In a store of this process a call costs more than a key: there one table answers both ways.
        """
        self._remote = remote
        self._store = store
        self._viewer = viewer
        self.follows: dict[Pair, str | None] = {}
        self.blocks: dict[Pair, str | None] = {}
        # Whom the viewer blocks or is blocked by, of all that are in `blocks`.
        self.blocked: set[str] = set()

    def missing_blocks(self, dids: Collection[str], pairs: Collection[Pair]) -> list[Any]:
        """What is to be read of blocks between the viewer and these accounts, and between these pairs, either way.

        Both ways of a pair are always asked for together.
        """
        viewer, blocks = self._viewer, self.blocks
        # Of the first of a pair: whom it blocks, and by whom it is blocked.
        blocking: list[Pair] = []
        blocked: list[Pair] = []
        if viewer is not None:
            # Nobody stands to themselves in any way, whatever records say.
            blocking = [(viewer, did) for did in dids if did != viewer]
            if blocks:
                blocking = [pair for pair in blocking if pair not in blocks]
            if self._remote:
                blocked = blocking.copy()
            else:
                blocking += [(did, viewer) for _, did in blocking]
        if pairs:
            many = Counter([one for one, _ in pairs]) if self._remote and len(pairs) >= _MANY else _FEW
            asked: set[Pair] = set(blocking)
            for pair in pairs:
                one, other = pair
                back = (other, one)
                if one == other or pair in blocks or pair in asked or back in asked:
                    continue
                asked.add(pair)
                blocking.append(pair)
                # All who stand to one account are in two partitions of its own.
                if self._remote and (many[one] >= _MANY or one == viewer):
                    blocked.append(pair)
                else:
                    blocking.append(back)
        work: list[Any] = []
        if blocking:
            work.append(self._fetch_blocking(blocking))
        if blocked:
            work.append(self._fetch_blocked(blocked))
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
        if not self._remote:
            following, followed = [*following, *followed], ()
        missing = [pair for pair in following if pair not in follows] if follows else list(following)
        if missing:
            work.append(partial(self._fetch_following, missing))
        missing = [pair for pair in followed if pair not in follows] if follows else list(followed)
        if missing:
            work.append(partial(self._fetch_followed, missing))
        return work

    async def _fetch_following(self, pairs: list[Pair]) -> None:
        rows = await self._store.get_many(follows_by_actor.TABLE, pairs)
        uri = follows_by_actor.uri
        self.follows.update(zip(pairs, [None if row is None else uri(row) for row in rows], strict=True))

    async def _fetch_followed(self, pairs: list[Pair]) -> None:
        key, place = followed_by.key, _FOLLOWED_URI
        rows = await self._store.get_many(followed_by.TABLE, [key(whom, who) for who, whom in pairs])
        self.follows.update(zip(pairs, [None if row is None else row[place] for row in rows], strict=True))

    async def _fetch_blocking(self, pairs: list[Pair]) -> None:
        """Whether the first of a pair blocks the other."""
        rows = await self._store.get_many(blocks_by_actor.TABLE, pairs)
        place = _BLOCK_URI
        self.blocks.update(zip(pairs, [None if row is None else row[place] for row in rows], strict=True))
        self._hide(rows)

    async def _fetch_blocked(self, pairs: list[Pair]) -> None:
        """Whether the first of a pair is blocked by the other."""
        rows = await self._store.get_many(blocked_by.TABLE, pairs)
        blocks, place = self.blocks, _BLOCKED_URI
        for (one, other), row in zip(pairs, rows, strict=True):
            blocks[other, one] = None if row is None else row[place]
        self._hide(rows)

    def _hide(self, rows: Iterable[Row | None]) -> None:
        """Rows of either table begin with the two accounts."""
        viewer = self._viewer
        for row in rows:
            if row is not None:
                if row[0] == viewer:
                    self.blocked.add(row[1])
                elif row[1] == viewer:
                    self.blocked.add(row[0])
