"""What one request has read of the views: each row once, a bounded number of statements. HOT.

`load_posts` follows what a page shows to all that it is shown with: parents and roots, quotes two levels deep,
accounts, counts, the viewer's state, blocks, takedowns. Does not own what the rows permit (`appview.rules`) nor how
they look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from api.appview.together import Together
from views import (
    actors,
    blocks_by_actor,
    follows_by_actor,
    interactions,
    likes_by_actor,
    postgates,
    posts,
    reposts_by_actor,
    takedowns,
    threadgates,
)
from views.record import POST, PROFILE, authority
from views.store import Store
from views.table import Row, Table
from views.threadgates import CLOSED, FOLLOWERS, FOLLOWING, MENTIONED

QUOTE, ROOT, PARENT = (posts.TABLE.index(name) for name in ("quote", "root", "parent"))
_GATE_URI, _RULES = (threadgates.TABLE.index(name) for name in ("uri", "rules"))  # `uri` is there in both gates

_QUOTES_DEEP = 2
_POST_PART = f"/{POST}/"

Pair = tuple[str, str]


def profile_uri(did: str) -> str:
    return f"at://{did}/{PROFILE}/self"


class Authors(dict[str, str]):
    """Whose record a URI names; each is taken apart once."""

    def __missing__(self, uri: str) -> str:
        self[uri] = did = authority(uri)
        return did


class Loader:
    """All rows by what they are of; a key that was asked for and is not there holds None."""

    __slots__ = (
        "_run",
        "actors",
        "authors",
        "blocked",
        "blocks",
        "counts",
        "follows",
        "likes",
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

    def __init__(self, store: Store, viewer: str | None, together: Together) -> None:
        self.store = store
        self.viewer = viewer
        self._run = together
        self.posts: dict[str, Row | None] = {}
        self.actors: dict[str, Row | None] = {}
        self.counts: dict[str, Row | None] = {}
        self.likes: dict[str, Row | None] = {}
        self.reposts: dict[str, Row | None] = {}
        # (who follows or blocks, whom)
        self.follows: dict[Pair, Row | None] = {}
        self.blocks: dict[Pair, Row | None] = {}
        # Whom the viewer blocks or is blocked by, of all that are in `blocks`.
        self.blocked: set[str] = set()
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

        `taken` are other records whose takedown matters, `pairs` other accounts between whom a block matters.
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
        work = self._accounts(dids, related, taken=[*there, *taken])
        self._need(work, interactions.TABLE, self.counts, there)
        uris = [uri for uri in full if rows.get(uri) is not None]
        roots = dict.fromkeys([(rows[uri] or ())[ROOT] or uri for uri in uris])
        self._need(work, threadgates.TABLE, self.threadgates, [root for root in roots if _POST_PART in root])
        if self.viewer is not None:
            viewer = self.viewer
            quotes += [uri for uri in uris if authors[uri] != viewer]
            keys = [likes_by_actor.key(viewer, uri) for uri in uris]
            work.append(self._fetch(likes_by_actor.TABLE, self.likes, uris, keys))
            work.append(self._fetch(reposts_by_actor.TABLE, self.reposts, uris, keys))
        self._need(work, postgates.TABLE, self.postgates, dict.fromkeys(quotes))
        await self._run(work)
        await self._run(self._gates(uris))

    async def load_accounts(
        self, dids: Iterable[str], *, pairs: Iterable[Pair] = (), taken: Iterable[str] = ()
    ) -> None:
        """Accounts as the viewer sees them."""
        await self._run(self._accounts(dict.fromkeys(dids), set(pairs), taken=list(taken)))

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

    def _accounts(self, dids: dict[str, None], pairs: set[Pair], taken: list[str]) -> list[Any]:
        work: list[Any] = []
        taken += [profile_uri(did) for did in dids]
        self._need(work, takedowns.TABLE, self.taken, taken)
        self._need(work, actors.TABLE, self.actors, dids)
        viewer = self.viewer
        edges = [pair for a, b in pairs if a != b for pair in ((a, b), (b, a))]
        if viewer is not None:
            # Nobody stands to themselves in any way, whatever records say.
            others = [did for did in dids if did != viewer]
            ours = [(viewer, did) for did in others] + [(did, viewer) for did in others]
            edges += ours
            follows = self.follows
            missing = [pair for pair in ours if pair not in follows] if follows else ours
            if missing:
                work.append(self._fetch(follows_by_actor.TABLE, self.follows, missing, missing))
        blocks = self.blocks
        missing = [pair for pair in dict.fromkeys(edges) if pair not in blocks]
        if missing:
            work.append(self._fetch_blocks(missing))
        return work

    def _gates(self, uris: list[str]) -> list[Any]:
        """What is to be read to judge by the gates that were found, most often nothing."""
        gates, authors, work = self.threadgates, self.authors, list[Any]()
        found = [row for row in chain(gates.values(), self.postgates.values()) if row is not None]
        if not found:
            return work
        self._need(work, takedowns.TABLE, self.taken, [row[_GATE_URI] for row in found])
        pairs: dict[Pair, None] = {}
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
                    pairs |= {(owner, did): None} if rules & FOLLOWING else {}
                    pairs |= {(did, owner): None} if rules & FOLLOWERS else {}
        missing = [pair for pair in pairs if pair not in self.follows]
        if missing:
            work.append(self._fetch(follows_by_actor.TABLE, self.follows, missing, missing))
        self.roots |= {root: self.posts[root] for root in mentioning if root in self.posts}
        self._need(work, posts.TABLE, self.roots, mentioning)
        return work

    async def _fetch_blocks(self, pairs: list[Pair]) -> None:
        rows = await self.store.get_many(blocks_by_actor.TABLE, pairs)
        self.blocks.update(zip(pairs, rows, strict=True))
        viewer = self.viewer
        for (one, other), row in zip(pairs, rows, strict=True):
            if row is not None and viewer in (one, other):
                self.blocked.add(other if one == viewer else one)

    def _need(self, work: list[Any], table: Table, into: dict[str, Row | None], names: Iterable[str]) -> None:
        missing = [name for name in names if name not in into] if into else list(names)
        if missing:
            work.append(self._fetch(table, into, missing, [(name,) for name in missing]))

    async def _fetch(
        self, table: Table, into: dict[Any, Row | None], names: Sequence[Any], keys: Sequence[Any]
    ) -> None:
        read = self.store.statics if table is interactions.TABLE else self.store.get_many
        into.update(zip(names, await read(table, keys), strict=True))
