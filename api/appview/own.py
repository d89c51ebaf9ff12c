"""What the viewer has set in this AppView, as far as one request has asked: mutes, bookmarks, muted threads. HOT.

Waited for, as mutes hide. Does not own what follows from it (`appview.rules`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from schemas.errors import InvariantError
from schemas.operations import BOOKMARK, MUTE, THREAD_MUTE
from views import operations
from views.store import Store
from views.table import Key, Row

# Rows of one viewer that are read whole. The store of one process keeps what it read up to one row more than this.
WHOLE_MOST: Final = 255
_VALUE: Final = operations.TABLE.index("value")


class Own:
    """Asked only for what `missing` was told of before."""

    __slots__ = ("_asked", "_rows", "_store", "_viewer", "_whole", "nothing")

    def __init__(self, store: Store, viewer: str | None, *, remote: bool) -> None:
        """`remote`: there a statement asks for the keys of a page, as few rows as possible come back.

        In a store of this process, which keeps the beginnings of partitions in memory, all of a viewer who has set
        little is one look-up; most have set nothing.
        """
        self._store = store
        self._viewer = viewer
        self._rows: dict[tuple[str, str], Row] = {}
        self._asked: set[tuple[str, str]] = set()
        # Whether `_rows` is all there is; None until that was asked.
        self._whole = True if viewer is None else False if remote else None
        # That the viewer is known to have set nothing at all: so it is most often, and then nobody need ask further.
        self.nothing = viewer is None

    def missing(self, accounts: Iterable[str], posts: Iterable[str] = (), threads: Iterable[str] = ()) -> list[Any]:
        """What is to be read to answer for these: one read at most."""
        return [] if self._whole else [self._fetch(accounts, posts, threads)]

    async def _fetch(self, accounts: Iterable[str], posts: Iterable[str], threads: Iterable[str]) -> None:
        viewer = self._viewer
        if self._whole is None:
            rows = await self._store.slice(operations.TABLE, (viewer,), limit=WHOLE_MOST + 1)
            self._whole = len(rows) <= WHOLE_MOST
            if self._whole:
                self._rows = {row[1:3]: row for row in rows}
                self.nothing = not rows
        if self._whole:
            return
        wanted = [(MUTE, did) for did in accounts]
        wanted += [(BOOKMARK, uri) for uri in posts]
        wanted += [(THREAD_MUTE, root) for root in threads]
        missing = [each for each in wanted if each not in self._asked]
        if missing:
            keys: list[Key] = [(viewer, *each) for each in missing]
            found = await self._store.get_many(operations.TABLE, keys)
            self._asked.update(missing)
            self._rows.update({row[1:3]: row for row in found if row is not None})

    def mute(self, did: str) -> int | None:
        """What of an account the viewer mutes, as bits of `schemas.operations`: 0 all; None when nothing."""
        row = self._row(MUTE, did)
        return None if row is None else row[_VALUE][0]

    def bookmarked(self, uri: str) -> bool:
        return self._row(BOOKMARK, uri) is not None

    def mutes_thread(self, root: str) -> bool:
        return self._row(THREAD_MUTE, root) is not None

    def _row(self, kind: str, subject: str) -> Row | None:
        key = (kind, subject)
        if not self._whole and key not in self._asked:
            raise InvariantError(f"{kind} of {subject} was not asked for")
        return self._rows.get(key)
