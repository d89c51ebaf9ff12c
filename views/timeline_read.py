"""A page of a reader's timeline, such that the answer is that of the naive fan-in over author feeds.

Above `complete_since`: the reader's rows, the pull rows of the big authors that the reader follows, and the reader's
own feed. At and below it: the author feeds of all the reader follows. Owns two filters, followed now and there with
this sort key; states, blocks, mutes and takedowns are the endpoint's rules. HOT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from views import (
    author_feed,
    follows_by_actor,
    follows_by_time,
    posts,
    recent_by_author,
    reposts_by_actor,
    timelines,
)
from views.author_feed import POSTS_WITH_REPLIES
from views.big_authors_read import BigAuthors
from views.store import Store
from views.table import Key, Row

# How many looks at the sources a page may take when filters leave little; then it is short, and says where to go on.
_ROUNDS = 8
_SLICES_AT_ONCE = 32
_FOLLOWS_AT_ONCE = 1_000
_FOLLOWS_MOST = 50_000
_BIG_ASKED_MOST = 256
_LAST: Final = "\U0010ffff"

_POST_SORT_AT = posts.TABLE.index("sort_at")
_REPOST_SORT_AT = reposts_by_actor.TABLE.index("sort_at")
_SUBJECT_BY_TIME = follows_by_time.TABLE.index("subject")


class Item(NamedTuple):
    """A place in a timeline; its first three are its position."""

    sort_at: int
    uri: str
    reposter: str
    """The reposter's DID; empty for a post that its author brings."""
    author: str
    """Who brings it: the reposter, else the post's author."""


class Page(msgspec.Struct):
    """`next` is the position to go on after, None at the end. The rest are rows read on the way."""

    items: list[Item]
    next: Key | None
    posts: dict[str, Row]
    reposts: dict[tuple[str, str], Row]
    """By (reposter, uri): the row of `reposts_by_actor` that counts."""
    follows: dict[tuple[str, str], Row | None]
    """By (reader, author): the row of `follows_by_actor` that counts."""
    fanned_in: bool = False


class TimelineReader:
    """`big` are the same for all readers."""

    def __init__(self, store: Store, big: BigAuthors | None = None) -> None:
        self._store = store
        self._big = BigAuthors(store) if big is None else big

    def through(self, store: Store) -> TimelineReader:
        """The same pages, read of another store."""
        return TimelineReader(store, self._big)

    async def page(self, reader: str, after: Key | None, limit: int) -> Page:
        """At most `limit` items after a position (sort_at, uri, reposter), newest first."""
        (statics,) = await self._store.statics(timelines.TABLE, ((reader,),))
        since: int | None = None if statics is None else statics[0]
        # Behind this position is what may be missing from the reader's rows.
        edge: Key | None = None if since is None else (since + 1, _LAST, _LAST)
        pulled: list[str] | None = None
        follows: list[str] | None = None
        page = Page([], after, {}, {}, {})
        for _ in range(_ROUNDS):
            wanted = limit - len(page.items)
            many = wanted + 2 + wanted // 8  # a few more than wanted, for what the filters take
            below = edge is not None and page.next is not None and _rank(page.next) >= _rank(edge)
            page.fanned_in |= below
            if below:
                if follows is None:
                    follows = await self._follows(reader)
                parts = await self._feeds([*follows, reader], page.next, None, many)
                end = None
            else:
                if pulled is None:
                    pulled = await self._pulled(reader)
                parts = await self._pushed(reader, page.next, since, many, pulled)
                end = edge
            items, horizon = _merged(parts)
            if horizon is None:
                horizon = end
            kept = await self._kept(reader, items, page, unfollowed=not below)
            page.items += kept[:wanted]
            page.next = kept[wanted - 1][:3] if len(kept) >= wanted else horizon
            if page.next is None or len(kept) >= wanted:
                break
        return page

    async def _pushed(
        self, reader: str, after: Key | None, since: int | None, many: int, pulled: list[str]
    ) -> list[tuple[list[Item], bool]]:
        until = None if since is None else (since + 1,)
        slice_ = self._store.slice
        rows = await slice_(timelines.TABLE, (reader,), after=after, until=until, limit=many)
        parts = [([Item._make(row[1:]) for row in rows], len(rows) == many)]
        parts += await self._feeds([reader], after, until, many)
        for author in pulled:
            rows = await slice_(recent_by_author.TABLE, (author,), after=after, until=until, limit=many)
            parts.append(([Item(row[1], row[2], row[3], author) for row in rows], len(rows) == many))
        return parts

    async def _feeds(
        self, authors: list[str], after: Key | None, until: Key | None, many: int
    ) -> list[tuple[list[Item], bool]]:
        # Of many feeds a few rows each make a page; who brings more is asked again.
        each = min(many, max(8, 512 // len(authors)))
        parts: list[tuple[list[Item], bool]] = []
        for start in range(0, len(authors), _SLICES_AT_ONCE):
            some = authors[start : start + _SLICES_AT_ONCE]
            slices = [
                self._store.slice(
                    author_feed.TABLE,
                    (author, POSTS_WITH_REPLIES),
                    after=None if after is None else _in_feed(after, author),
                    until=until,
                    limit=each,
                )
                for author in some
            ]
            answers = [await slices[0]] if len(slices) == 1 else await asyncio.gather(*slices)
            for author, rows in zip(some, answers, strict=True):
                found = [Item(row[2], row[3], author if row[4] else "", author) for row in rows]
                parts.append((found, len(rows) == each))
        return parts

    async def _kept(self, reader: str, items: list[Item], page: Page, *, unfollowed: bool) -> list[Item]:
        """Those of accounts followed now, that are there with this sort key; `unfollowed`: some may not be followed."""
        if not items:
            return []
        get_many = self._store.get_many
        authors = list({item.author for item in items} - {reader})
        followed = {reader}
        if not unfollowed:
            followed.update(authors)
        elif authors:
            asked = [(reader, author) for author in authors]
            found = await get_many(follows_by_actor.TABLE, asked)
            page.follows.update(zip(asked, found, strict=True))
            followed.update(author for author, row in zip(authors, found, strict=True) if row is not None)
        items = [item for item in items if item[3] in followed]
        uris = [uri for uri in dict.fromkeys([item[1] for item in items]) if uri not in page.posts]
        for uri, row in zip(uris, await get_many(posts.TABLE, [(uri,) for uri in uris]), strict=True):
            if row is not None:
                page.posts[uri] = row
        pairs = [(item[2], item[1]) for item in items if item[2]]
        if pairs:
            keys = [reposts_by_actor.key(*pair) for pair in pairs]
            for pair, row in zip(pairs, await get_many(reposts_by_actor.TABLE, keys), strict=True):
                if row is not None:
                    page.reposts[pair] = row
        return [item for item in items if _is_there(item, page)]

    async def _pulled(self, reader: str) -> list[str]:
        """The big authors that the reader follows."""
        big = await self._big.all()
        if not big:
            return []
        if len(big) > _BIG_ASKED_MOST:
            return [did for did in await self._follows(reader) if did in big]
        asked = sorted(big)
        found = await self._store.get_many(follows_by_actor.TABLE, [(reader, did) for did in asked])
        return [did for did, row in zip(asked, found, strict=True) if row is not None]

    async def _follows(self, reader: str) -> list[str]:
        found: list[str] = []
        after: Key | None = None
        while len(found) < _FOLLOWS_MOST:
            rows = await self._store.slice(follows_by_time.TABLE, (reader,), after=after, limit=_FOLLOWS_AT_ONCE)
            found += [row[_SUBJECT_BY_TIME] for row in rows if row[_SUBJECT_BY_TIME] != reader]
            if len(rows) < _FOLLOWS_AT_ONCE:
                break
            after = rows[-1][1:3]
        return found


def _rank(position: Key) -> Key:
    return (-position[0], position[1], position[2])


def _merged(parts: Iterable[tuple[list[Item], bool]]) -> tuple[list[Item], Key | None]:
    """All items up to where every source is known, each once, and that position (None: to the end)."""
    horizon: Key | None = None
    parts = [part for part in parts if part[0]]
    if len(parts) == 1:
        ((items, cut),) = parts
        return items, items[-1][:3] if cut else None
    seen: dict[Key, Item] = {}
    for items, cut in parts:
        if cut and (horizon is None or _rank(items[-1]) < _rank(horizon)):
            horizon = items[-1][:3]
        for item in items:
            seen[-item[0], item[1], item[2]] = item
    order = sorted(seen)
    if horizon is not None:
        last = _rank(horizon)
        order = [rank for rank in order if rank <= last]
    return [seen[rank] for rank in order], horizon


def _in_feed(after: Key, author: str) -> Key:
    """A timeline's position in one author's feed, which keeps the repost's URI where a timeline has the reposter."""
    sort_at, uri, reposter = after
    return (sort_at, uri, "" if reposter < author else _LAST)


def _is_there(item: Item, page: Page) -> bool:
    post = page.posts.get(item.uri)
    if post is None:
        return False
    if not item.reposter:
        return bool(post[_POST_SORT_AT] == item.sort_at)
    repost = page.reposts.get((item.reposter, item.uri))
    return repost is not None and repost[_REPOST_SORT_AT] == item.sort_at
