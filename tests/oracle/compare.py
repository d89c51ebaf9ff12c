"""Everything the API can show, to everybody and to nobody, against the model. All pages, of sizes that end anywhere.

`Watch` says after a run what was really compared, so that a test may refuse to have passed over nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.oracle import seen
from tests.oracle.answers import FILTERS, Answers, Json, Refusal
from tests.oracle.model import Frozen, Model
from tests.support.asking import AnsweredError

BSKY = "app.bsky."
MOST_PAGES = 400
QUERIES = ("an", "bea", "name", "other", "ünal", "fix", "nobody")


class Asked(Protocol):
    async def ask(self, nsid: str, viewer: str | None, **parameters: Any) -> Json: ...


@dataclass
class Watch:
    """What was seen, by kind."""

    counts: Counter[str] = field(default_factory=Counter)


class Comparison:
    """One model, one network, one moment. `context` is said with what differs."""

    def __init__(
        self, model: Model, network: Asked, dids: Iterable[str], dice: random.Random, *, watch: Watch, context: str
    ) -> None:
        self.frozen = Frozen(model)
        self.network = network
        self.dids = list(dids)
        self.dice = dice
        self.watch = watch
        self.context = context
        self.queries: Iterable[str] = QUERIES

    async def everything(self, viewers: Iterable[str | None]) -> None:
        for viewer in viewers:
            await self.of_viewer(viewer)

    async def of_viewer(self, viewer: str | None) -> None:
        says = Answers(self.frozen, viewer)
        uris = self.uris()
        await self._accounts(viewer, says)
        await self._posts(viewer, says, uris)
        await self._feeds(viewer, says)
        await self._threads(viewer, says, uris)
        await self._lists(viewer, says, uris)

    def uris(self) -> list[str]:
        """Every post that is there, and some that are not (any more)."""
        named = set(self.frozen.posts)
        named |= set(self.frozen.replies_to) | set(self.frozen.likes_on) | set(self.frozen.quotes_of)
        return sorted(named)

    async def _accounts(self, viewer: str | None, says: Answers) -> None:
        handles = sorted({account.handle for account in self.frozen.model.accounts.values() if account.handle})
        actors = [*self.dids, *handles, "nobody.test"]
        for actor in actors:
            await self._one(
                "actor.getProfile", viewer, {"actor": actor}, lambda actor=actor: says.get_profile(actor), seen.detailed
            )
        found = await self.network.ask(BSKY + "actor.getProfiles", viewer, actors=self.dids)
        self._same(viewer, "getProfiles", [*map(seen.detailed, found["profiles"])], says.get_profiles(self.dids))
        for query in self.queries:
            found = await self.network.ask(BSKY + "actor.searchActorsTypeahead", viewer, q=query, limit=100)
            dids = sorted(view["did"] for view in found["actors"])
            self._same(viewer, f"searchActorsTypeahead {query}", dids, sorted(says.search(query)))
        if viewer is not None:
            relations = {"actor": viewer, "others": self.dids}
            found = await self.network.ask(BSKY + "graph.getRelationships", viewer, **relations)
            views = [*map(seen.relationship, found["relationships"])]
            self._same(viewer, "getRelationships", views, says.get_relationships(viewer, self.dids))

    async def _posts(self, viewer: str | None, says: Answers, uris: list[str]) -> None:
        for start in range(0, len(uris), 25):
            some = uris[start : start + 25]
            found = await self.network.ask(BSKY + "feed.getPosts", viewer, uris=some)
            views = [*map(seen.post, found["posts"])]
            self._same(viewer, "getPosts", views, says.get_posts(some))
            for view in views:
                self.watch.counts["gated"] += "threadgate" in view
                self.watch.counts["detached"] += "detached" in str(view.get("embed"))
                self.watch.counts["not for the viewer"] += bool(view.get("viewer", {}).get("replyDisabled"))

    async def _feeds(self, viewer: str | None, says: Answers) -> None:
        if viewer is not None:
            for limit in {self.dice.randint(1, 3), self.dice.randint(4, 60)}:
                found = await self._pages("feed.getTimeline", viewer, "feed", seen.item, limit=limit)
                self._same(viewer, f"getTimeline limit={limit}", found, says.get_timeline())
        for did in self.dids:
            for which in FILTERS:
                limit, pins = self.dice.choice((1, 2, 5, 100)), self.dice.random() < 0.3
                parameters = {"actor": did, "filter": which, "limit": limit, "includePins": pins}

                async def pages(parameters: Json = parameters) -> list[Any]:
                    return await self._pages("feed.getAuthorFeed", viewer, "feed", seen.item, **parameters)

                await self._either(
                    f"getAuthorFeed {parameters}",
                    viewer,
                    pages,
                    lambda p=parameters: says.get_author_feed(p["actor"], p["filter"], p["limit"], p["includePins"]),
                )

    async def _threads(self, viewer: str | None, says: Answers, uris: list[str]) -> None:
        self.watch.counts["violations"] += sum(map(says.violates, self.frozen.posts.values()))
        for uri in uris:
            depth, height = self.dice.choice((0, 1, 2, 6)), self.dice.choice((0, 1, 80))
            parameters = {"uri": uri, "depth": depth, "parentHeight": height}
            await self._one(
                "feed.getPostThread",
                viewer,
                parameters,
                lambda p=parameters: says.get_post_thread(p["uri"], p["depth"], p["parentHeight"]),
                lambda view: seen.thread(view["thread"]),
            )

    async def _lists(self, viewer: str | None, says: Answers, uris: list[str]) -> None:
        for uri in uris:
            limit = self.dice.choice((1, 2, 100))
            found = await self._pages("feed.getLikes", viewer, "likes", seen.like, uri=uri, limit=limit)
            self._same(viewer, f"getLikes {uri} limit={limit}", found, says.get_likes(uri))
            found = await self._pages("feed.getRepostedBy", viewer, "repostedBy", seen.profile, uri=uri, limit=limit)
            self._same(viewer, f"getRepostedBy {uri} limit={limit}", found, says.get_reposted_by(uri))
            found = await self._pages("feed.getQuotes", viewer, "posts", seen.post, uri=uri, limit=limit)
            self._same(viewer, f"getQuotes {uri} limit={limit}", found, says.get_quotes(uri))
        for did in self.dids:
            for name, key, said in (
                ("getFollowers", "followers", says.get_followers),
                ("getFollows", "follows", says.get_follows),
            ):
                limit = self.dice.choice((1, 2, 100))

                async def pages(name: str = name, key: str = key, did: str = did, limit: int = limit) -> list[Any]:
                    return await self._pages(f"graph.{name}", viewer, key, seen.profile, actor=did, limit=limit)

                await self._either(f"{name} {did} limit={limit}", viewer, pages, lambda said=said, did=did: said(did))
        if viewer is not None:
            found = await self._pages("graph.getBlocks", viewer, "blocks", seen.profile, limit=self.dice.randint(1, 3))
            self._same(viewer, "getBlocks", found, says.get_blocks())
            found = await self._pages("graph.getMutes", viewer, "mutes", seen.profile, limit=self.dice.randint(1, 3))
            self._same(viewer, "getMutes", found, says.get_mutes())
            limit = self.dice.randint(1, 3)
            found = await self._pages("bookmark.getBookmarks", viewer, "bookmarks", seen.bookmark, limit=limit)
            self._same(viewer, "getBookmarks", found, says.get_bookmarks())
            for each in found:
                self.watch.counts[f"bookmarked {next(iter(each['item']))}"] += 1

    # --- how two answers are held side by side ---

    async def _one(
        self,
        name: str,
        viewer: str | None,
        parameters: Json,
        expected: Callable[[], Any],
        reduce: Callable[[Json], Any],
    ) -> None:
        async def answer() -> Any:
            return reduce(await self.network.ask(BSKY + name, viewer, **parameters))

        await self._either(f"{name} {parameters}", viewer, answer, expected)

    async def _either(
        self, what: str, viewer: str | None, answer: Callable[[], Awaitable[Any]], expected: Callable[[], Any]
    ) -> None:
        """Two answers, or one refusal."""
        said: Any
        try:
            said = expected()
        except Refusal as refusal:
            said = refusal.name
        try:
            found = await answer()
        except AnsweredError as error:
            found = error.name
        self._same(viewer, what, found, said)

    async def _pages(
        self, name: str, viewer: str | None, key: str, reduce: Callable[[Json], Any], **parameters: Any
    ) -> list[Any]:
        found: list[Any] = []
        cursor = None
        for _ in range(MOST_PAGES):
            page = await self.network.ask(BSKY + name, viewer, cursor=cursor, **parameters)
            found += [reduce(view) for view in page[key]]
            pinned = 1 if parameters.get("includePins") and cursor is None else 0
            assert len(page[key]) <= parameters["limit"] + pinned, f"{name} gave more than {parameters['limit']}"
            cursor = page.get("cursor")
            if cursor is None:
                return found
        raise AssertionError(f"{name} {parameters} for {viewer} has no end ({self.context})")

    def _same(self, viewer: str | None, what: str, found: Any, said: Any) -> None:
        name = what.partition(" ")[0].removeprefix("feed.").removeprefix("actor.")
        self.watch.counts[name] += 1
        if found and not isinstance(found, str):
            self.watch.counts[f"{name} with something"] += 1
        assert found == said, f"{what} for {viewer} ({self.context}):\n{difference(found, said)}"


def difference(found: Any, said: Any, path: str = "answer") -> str:
    """Where two answers part, a line each; what is the same is left out."""
    if isinstance(found, dict) and isinstance(said, dict):
        names = [name for name in {**found, **said} if found.get(name, _NONE) != said.get(name, _NONE)]
        return "\n".join(difference(found.get(n, _NONE), said.get(n, _NONE), f"{path}.{n}") for n in names)
    if isinstance(found, list) and isinstance(said, list):
        if len(found) == len(said):
            pairs = enumerate(zip(found, said, strict=True))
            return "\n".join(difference(a, b, f"{path}[{n}]") for n, (a, b) in pairs if a != b)
        extra = [_short(item) for item in found if item not in said]
        missing = [_short(item) for item in said if item not in found]
        return f"{path}: {len(found)} found, {len(said)} expected\n  not expected: {extra}\n  missing: {missing}"
    return f"{path}: found {str(found)[:500]}, expected {str(said)[:500]}"


def _short(item: Any) -> Any:
    if isinstance(item, dict) and isinstance(item.get("post"), dict):
        return {"post": item["post"]["uri"], **{k: item[k] for k in ("repost", "pin") if k in item}}
    return item


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NONE = _Nothing()
