"""What one request has read of the views: each row once, a bounded number of statements. HOT.

`load_posts` follows what a page shows to all that it is shown with: parents and roots, quotes two levels deep,
accounts, counts, the viewer's state, blocks, takedowns. Does not own what the rows permit (`appview.rules`) nor how
they look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any

from api.appview.late import InTime, Part
from api.appview.own import Own
from api.appview.relations import Pair, Relations
from api.appview.together import Together
from views import (
    actors,
    interactions,
    likes_by_actor,
    posts,
    reposts_by_actor,
    restrictions,
)
from views.record import POST, PROFILE, authority
from views.restrictions import CLOSED, FOLLOWERS, FOLLOWING, MENTIONED, QUOTES, TAKEN, THREAD
from views.store import Store
from views.table import Key, Row, Table

QUOTE, ROOT, PARENT = (posts.TABLE.index(name) for name in ("quote", "root", "parent"))
_GATE_URI, _RULES = (restrictions.TABLE.index(name) for name in ("uri", "rules"))

_QUOTES_DEEP = 2
_POST_PART = f"/{POST}/"


def profile_uri(did: str) -> str:
    return f"at://{did}/{PROFILE}/self"


class Authors(dict[str, str]):
    """Whose record a URI names; each is taken apart once."""

    def __missing__(self, uri: str) -> str:
        self[uri] = did = authority(uri)
        return did


class Loader:
    """All rows by what they are of; a key that was asked for and is not there holds None, of what is late none does."""

    __slots__ = (
        "_in_time",
        "_relations",
        "_run",
        "actors",
        "authors",
        "blocked",
        "blocks",
        "counts",
        "follows",
        "late",
        "likes",
        "own",
        "postgates",
        "posts",
        "reposts",
        "roots",
        "store",
        "taken",
        "threadgates",
        "viewer",
        "visible",
    )

    def __init__(self, store: Store, viewer: str | None, together: Together, in_time: InTime | None = None) -> None:
        self.store = store
        self.viewer = viewer
        self._run = together
        self._in_time = in_time
        # What this answer goes without: of these nothing is said.
        self.late: set[Part] = set()
        self.posts: dict[str, Row | None] = {}
        self.actors: dict[str, Row | None] = {}
        self.counts: dict[str, Row | None] = {}
        self.likes: dict[str, Row | None] = {}
        self.reposts: dict[str, Row | None] = {}
        self.own = Own(store, viewer, remote=in_time is not None)
        self._relations = relations = Relations(store, viewer, remote=in_time is not None)
        self.follows, self.blocks, self.blocked = relations.follows, relations.blocks, relations.blocked
        self.taken: dict[str, Row | None] = {}
        # By the post that they stand at: of the roots of what is shown whole, of what is quoted, and what the viewer
        # might quote; and the roots themselves whose mentions matter.
        self.threadgates: dict[str, Row | None] = {}
        self.postgates: dict[str, Row | None] = {}
        self.roots: dict[str, Row | None] = {}
        self.authors = Authors()
        # What `rules.visible_post` found out.
        self.visible: dict[str, Row | None] = {}

    async def load_posts(
        self,
        shown: Iterable[str],
        *,
        context: bool = False,
        accounts: Iterable[str] = (),
        taken: Iterable[str] = (),
        pairs: Iterable[Pair] = (),
    ) -> None:
        """All that is needed to show these posts, with `context` as feed items, beside some accounts.

        `taken` are other records whose takedown matters, `pairs` other accounts between whom a block matters: all that
        concern one account should have it first.
        """
        items = dict.fromkeys(shown, _QUOTES_DEEP)
        full = await self._follow_references(items, context=context)
        rows = self.posts
        dids = dict.fromkeys(accounts)
        related = set(pairs)
        there: list[str] = []
        quotes: list[str] = []
        authors = self.authors
        for uri, row in rows.items():
            author = authors[uri]
            dids[author] = None
            if row is None:
                continue
            there.append(uri)
            parent, quote = row[PARENT], row[QUOTE]
            if context and parent is not None and uri in full:
                above = authors[parent]
                dids[above] = None
                related.add((author, authors[row[ROOT]]))
                if uri in items:
                    related.add((author, above))
            if quote is not None:
                quoted = authors[quote]
                dids[quoted] = None
                related.add((author, quoted))
                if quote in rows:
                    quotes.append(quote)
        work = self._accounts(dids, related)
        counts = self.counts
        missing = [uri for uri in there if uri not in counts] if counts else there
        if missing:
            subjects = [(uri,) for uri in missing]
            read = partial(self._fetch, interactions.TABLE, self.counts, missing, subjects)
            work.append(self.optional(Part.COUNTS, read))
        uris = [uri for uri in full if rows.get(uri) is not None]
        roots = dict.fromkeys([(rows[uri] or ())[ROOT] or uri for uri in uris])
        if self.viewer is not None:
            viewer = self.viewer
            quotes += [uri for uri in uris if authors[uri] != viewer]
            keys = [likes_by_actor.key(viewer, uri) for uri in uris]
            for table, into in ((likes_by_actor.TABLE, self.likes), (reposts_by_actor.TABLE, self.reposts)):
                work.append(self.optional(Part.REACTIONS, partial(self._fetch, table, into, uris, keys)))
        work += self.own.missing(dids, uris, roots)
        self._restrictions(
            work,
            taken=[*there, *taken],
            accounts=dids,
            threads=[root for root in roots if _POST_PART in root],
            quotes=dict.fromkeys(quotes),
        )
        await self._run(work)
        await self._run(self._gates(uris))

    async def load_accounts(
        self, dids: Iterable[str], *, pairs: Iterable[Pair] = (), taken: Iterable[str] = ()
    ) -> None:
        """Accounts as the viewer sees them."""
        wanted = dict.fromkeys(dids)
        work = self._accounts(wanted, set(pairs))
        work += self.own.missing(wanted)
        self._restrictions(work, taken=taken, accounts=wanted)
        await self._run(work)

    def optional(self, part: Part, read: Callable[[], Coroutine[Any, Any, None]]) -> Coroutine[Any, Any, None]:
        """To be awaited: reads what the answer can do without."""
        return read() if self._in_time is None else self._unless_late(self._in_time, part, read)

    async def _unless_late(self, in_time: InTime, part: Part, read: Callable[[], Awaitable[None]]) -> None:
        """Once a part is late, nothing more of it is asked for."""
        if part not in self.late and not await in_time(part, read()):
            self.late.add(part)

    async def only_posts(self, uris: Iterable[str]) -> None:
        rows = self.posts
        missing = [uri for uri in dict.fromkeys(uris) if uri not in rows]
        if missing:
            await self._fetch(posts.TABLE, rows, missing, [(uri,) for uri in missing])

    async def _follow_references(self, items: dict[str, int], *, context: bool) -> dict[str, int]:
        """Posts that are shown whole; on the way `posts` gets them and what they quote."""
        rows = self.posts
        full = level = items
        while level:
            await self.only_posts(level)
            following: dict[str, int] = {}
            for uri, quotes in level.items():
                row = rows[uri]
                if row is None:
                    continue
                quote = row[QUOTE]
                if quote is not None and _POST_PART in quote and following.get(quote, -1) < quotes - 1:
                    following[quote] = quotes - 1
                if context and row[PARENT] is not None:
                    following[row[PARENT]] = following[row[ROOT]] = _QUOTES_DEEP
            if context:
                full = {**full, **{uri: each for uri, each in following.items() if each == _QUOTES_DEEP}}
                context = False
            level = following
        return full

    def _accounts(self, dids: dict[str, None], pairs: set[Pair]) -> list[Any]:
        work: list[Any] = []
        self._need(work, actors.TABLE, self.actors, dids)
        work += self._relations.missing_blocks(dids, pairs)
        if self.viewer is not None:
            work += [self.optional(Part.FOLLOWS, each) for each in self._relations.missing_own_follows(dids)]
        return work

    def _restrictions(
        self,
        work: list[Any],
        *,
        taken: Iterable[str] = (),
        accounts: Iterable[str] = (),
        threads: Iterable[str] = (),
        quotes: Iterable[str] = (),
    ) -> None:
        """Takedowns of records and of accounts' profiles, gates of threads, and gates over quotes of posts."""
        authors, down = self.authors, self.taken
        names = [uri for uri in taken if uri not in down]
        keys: list[Key] = [(authors[uri], TAKEN, uri) for uri in names]
        for did in accounts:
            uri = profile_uri(did)
            if uri not in down:
                names.append(uri)
                keys.append((did, TAKEN, uri))
        wanted = [(down, names)]
        for kind, into, uris in ((THREAD, self.threadgates, threads), (QUOTES, self.postgates, quotes)):
            names = [uri for uri in uris if uri not in into]
            if names:
                keys += [(authors[uri], kind, uri) for uri in names]
                wanted.append((into, names))
        if keys:
            work.append(self._fetch_restrictions(wanted, keys))

    def _gates(self, uris: list[str]) -> list[Any]:
        """What is to be read to judge by the gates that were found, most often nothing."""
        gates, authors, work = self.threadgates, self.authors, list[Any]()
        found = [row for row in chain(gates.values(), self.postgates.values()) if row is not None]
        if not found:
            return work
        self._restrictions(work, taken=[row[_GATE_URI] for row in found])
        following: dict[Pair, None] = {}
        followed: dict[Pair, None] = {}
        mentioning: dict[str, None] = {}
        for uri in uris:
            root = (self.posts[uri] or ())[ROOT] or uri
            gate = gates.get(root)
            if gate is None or not gate[_RULES] & CLOSED:
                continue
            rules, owner = gate[_RULES], authors[root]
            if rules & MENTIONED:
                mentioning[root] = None
            for did in (authors[uri], self.viewer):
                if did is not None and did != owner:
                    following |= {(owner, did): None} if rules & FOLLOWING else {}
                    followed |= {(did, owner): None} if rules & FOLLOWERS else {}
        work += [read() for read in self._relations.missing_follows(following, followed)]
        self.roots |= {root: self.posts[root] for root in mentioning if root in self.posts}
        self._need(work, posts.TABLE, self.roots, mentioning)
        return work

    async def _fetch_restrictions(self, wanted: list[tuple[dict[str, Row | None], list[str]]], keys: list[Key]) -> None:
        """`wanted`: where the rows of these names go; their keys come in the same order."""
        rows = await self.store.get_many(restrictions.TABLE, keys)
        start = 0
        for into, names in wanted:
            end = start + len(names)
            into.update(zip(names, rows[start:end], strict=True))
            start = end

    def _need(self, work: list[Any], table: Table, into: dict[str, Row | None], names: Iterable[str]) -> None:
        missing = [name for name in names if name not in into] if into else list(names)
        if missing:
            work.append(self._fetch(table, into, missing, [(name,) for name in missing]))

    async def _fetch(
        self, table: Table, into: dict[Any, Row | None], names: Sequence[Any], keys: Sequence[Any]
    ) -> None:
        read = self.store.statics if table is interactions.TABLE else self.store.get_many
        into.update(zip(names, await read(table, keys), strict=True))
