"""What happens in a synthetic network, in order: who does what at which time to what. Sequential, and pure.

Every process that makes frames runs the whole plan, because a like names the CID of somebody else's post: posts are
made here; of an account that is not its own a process draws what it must, and makes no records. Memory is bounded by
the accounts and by windows of recent posts. Does not own what posts say (`sayings.py`), keys, trees and frames
(`repos.py`) nor the numbers (`model.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from headrace.load.synthesis import model
from headrace.load.synthesis.accounts import handle
from headrace.load.synthesis.sayings import Sayings
from headrace.load.synthesis.steps import Population, Post, Step, Window, Write
from headrace.load.synthesis.streams import Weighted, quantile, slots, stream
from schemas import cbor
from schemas.cid import Cid
from schemas.datetimes import from_micros
from schemas.tid import tid_from_micros

_FOUNDING = 250  # least microseconds between two foundings: more than the follows of one
_POSTS = 8_192  # recent posts that may be liked, answered or quoted
_LIKED = 4_096  # likes that later ones may follow
_OWN = 16  # of what an account did that it may undo, a kind
_DEPTH = 500


class Plan:
    """`dids` are the accounts' DIDs by number, `named` gives their first handles.

    Steps of accounts that are not `mine` come in their places too; what they write may be left out.
    """

    def __init__(
        self,
        population: Population,
        dids: Sequence[str],
        named: Callable[[int], str] | None = None,
        mine: Callable[[int], bool] = lambda _: True,
    ) -> None:
        seed, accounts = population.seed, population.accounts
        self._population = population
        self._dids = dids
        self._named = named
        self._mine = mine
        self._draw = stream(seed, "events")
        self._say = stream(seed, "texts")
        self._sayings = Sayings(seed, self._say)
        activity = stream(seed, "activity")
        self._who = Weighted([quantile(model.EVENTS_PER_ACCOUNT, activity()) for _ in range(accounts)])
        self._acts = slots(model.EVENT_MIX)
        self._posts = Window(_POSTS)
        self._liked = Window(_LIKED)
        self._reposted = Window(_LIKED)
        self._answered = Window(_LIKED)
        self._own: dict[tuple[int, str], list[str]] = {}
        self._own_posts: dict[int, list[Post]] = {}
        self._away: set[int] = set()
        self._gone: set[int] = set()
        self._renamed: dict[int, int] = {}
        self._lists: dict[int, str] = {}
        self._time = population.start

    def foundings(self) -> Iterator[Step]:
        """Each account comes into being with a profile and the accounts it follows, in the hours before the start."""
        accounts, start = self._population.accounts, self._population.start
        gap = max(_FOUNDING, min(3_600_000_000, 86_400_000_000 // accounts))
        draw = stream(self._population.seed, "foundings")
        for number in range(accounts):
            at = start - gap * (accounts - number)
            profile = {"$type": "app.bsky.actor.profile", "displayName": self._called(number), "createdAt": _text(at)}
            writes = [Write("app.bsky.actor.profile/self", profile)]
            wanted = min(quantile(model.FOLLOWS, draw()), accounts - 1)
            chosen: dict[int, None] = {}
            for _ in range(2 * wanted):
                other = self._popular(draw())
                if other != number and len(chosen) < wanted:
                    chosen[other] = None
            if not self._mine(number):
                yield Step(at, number, found=True)
                continue
            for later, other in enumerate(chosen):
                rkey = tid_from_micros(at + later, number & 1023)
                writes.append(Write(f"app.bsky.graph.follow/{rkey}", self._subject("graph.follow", at, other)))
            yield Step(at, number, writes, found=True)

    def events(self) -> Iterator[Step]:
        """As many as were asked for."""
        population, draw = self._population, self._draw
        rate = population.rate or population.accounts * model.EVENTS_PER_ACCOUNT_SECOND
        mean = 1e6 / rate * 100 / 1_000
        for _ in range(population.events):
            hour = self._time // 3_600_000_000 % 24
            gap = mean / model.HOURS[hour] * model.EXPONENTIAL[int(draw() * 64)]
            self._time += 1 + int(gap)
            yield self._next()

    def _next(self) -> Step:
        draw, time = self._draw, self._time
        account = self._who.pick(draw())
        while account in self._gone:
            account = int(draw() * self._population.accounts)
        if account in self._away:
            self._away.discard(account)
            return Step(time, account, status="active")
        act = self._acts[int(draw() * len(self._acts))]
        step: Step | None = getattr(self, f"_{act}")(account, time)
        if step is None:  # nothing there to answer or undo
            step = self._like(account, time) or self._post(account, time)
        return step

    # --- what an account does: None when it cannot ---

    def _like(self, account: int, time: int) -> Step | None:
        follows = self._draw() * 1_000 < model.LIKE_FOLLOWS_LIKE
        post = self._liked.pick(self._draw()) if follows else None
        post = post or self._posts.recent(self._draw())
        if post is None:
            return None
        self._liked.add(post)
        return self._create(account, time, "feed.like", {"subject": self._strong(post)})

    def _repost(self, account: int, time: int) -> Step | None:
        follows = self._draw() * 1_000 < model.REPOST_FOLLOWS_REPOST
        post = self._reposted.pick(self._draw()) if follows else None
        post = post or self._posts.recent(self._draw())
        if post is None:
            return None
        self._reposted.add(post)
        return self._create(account, time, "feed.repost", {"subject": self._strong(post)})

    def _follow(self, account: int, time: int) -> Step | None:
        other = self._popular(self._draw())
        return None if other == account else self._create(account, time, "graph.follow", {"subject": self._dids[other]})

    def _block(self, account: int, time: int) -> Step | None:
        other = int(self._draw() * len(self._dids))
        return None if other == account else self._create(account, time, "graph.block", {"subject": self._dids[other]})

    def _post(self, account: int, time: int) -> Step:
        return self._say_it(account, time, None)

    def _reply(self, account: int, time: int) -> Step | None:
        goes_on = self._draw() * 1_000 < model.REPLY_TO_REPLIED
        parent = self._answered.pick(self._draw()) if goes_on else None
        parent = parent or self._posts.recent(self._draw())
        return None if parent is None or parent.depth >= _DEPTH else self._say_it(account, time, parent)

    def _threadgate(self, account: int, time: int) -> Step | None:
        return self._gate(account, time, "threadgate", {"allow": []})

    def _postgate(self, account: int, time: int) -> Step | None:
        return self._gate(account, time, "postgate", {"embeddingRules": [{"$type": f"{_POSTGATE}#disableRule"}]})

    def _profile(self, account: int, time: int) -> Step:
        said = {"displayName": self._called(account), "description": self._sayings.description()}
        profile = {"$type": "app.bsky.actor.profile", **said}
        return Step(time, account, (Write("app.bsky.actor.profile/self", {**profile, "createdAt": _text(time)}),))

    def _status(self, account: int, time: int) -> Step:
        value = {"$type": "app.bsky.actor.status", "status": "app.bsky.actor.status#live", "durationMinutes": 60}
        return Step(time, account, (Write("app.bsky.actor.status/self", {**value, "createdAt": _text(time)}),))

    def _listitem(self, account: int, time: int) -> Step:
        writes = []
        path = self._lists.get(account)
        if path is None:
            path = self._lists[account] = f"app.bsky.graph.list/{tid_from_micros(time, account & 1023)}"
            made = {"$type": "app.bsky.graph.list", "name": "friends", "purpose": "app.bsky.graph.defs#curatelist"}
            writes.append(Write(path, {**made, "createdAt": _text(time)}))
        where = f"at://{self._dids[account]}/{path}"
        other = self._dids[self._popular(self._draw())]
        step = self._create(account, time, "graph.listitem", {"subject": other, "list": where})
        return step._replace(writes=(*writes, *step.writes))

    def _unfollow(self, account: int, time: int) -> Step | None:
        return self._undo(account, time, "graph.follow")

    def _unlike(self, account: int, time: int) -> Step | None:
        return self._undo(account, time, "feed.like")

    def _unrepost(self, account: int, time: int) -> Step | None:
        return self._undo(account, time, "feed.repost")

    def _unblock(self, account: int, time: int) -> Step | None:
        return self._undo(account, time, "graph.block")

    def _unlistitem(self, account: int, time: int) -> Step | None:
        return self._undo(account, time, "graph.listitem")

    def _unpost(self, account: int, time: int) -> Step | None:
        mine = self._own_posts.get(account)
        if not mine:
            return None
        post = mine.pop(int(self._draw() * len(mine)))
        post.alive = False
        return Step(time, account, (Write(post.path, None),))

    def _deactivate(self, account: int, time: int) -> Step:
        self._away.add(account)
        return Step(time, account, status="deactivated")

    def _delete(self, account: int, time: int) -> Step | None:
        if len(self._gone) * 10 >= self._population.accounts:
            return None  # a small network is not to die out
        self._gone.add(account)
        return Step(time, account, status="deleted")

    def _rename(self, account: int, time: int) -> Step:
        self._renamed[account] = self._renamed.get(account, 0) + 1
        return Step(time, account, renamed=self._renamed[account])

    # --- how ---

    def _create(self, account: int, time: int, name: str, fields: dict[str, Any]) -> Step:
        rkey = tid_from_micros(time, account & 1023)
        path = f"app.bsky.{name}/{rkey}"
        own = self._own.setdefault((account, name), [])
        own.append(path)
        if len(own) > _OWN:
            del own[0]
        if not self._mine(account):
            return Step(time, account)
        record = {"$type": f"app.bsky.{name}", **fields, "createdAt": _text(time)}
        return Step(time, account, (Write(path, record),))

    def _undo(self, account: int, time: int, name: str) -> Step | None:
        own = self._own.get((account, name))
        if not own:
            return None
        return Step(time, account, (Write(own.pop(int(self._draw() * len(own))), None),))

    def _gate(self, account: int, time: int, name: str, fields: dict[str, Any]) -> Step | None:
        mine = self._own_posts.get(account)
        if not mine:
            return None
        post = mine[-1]
        uri = f"at://{self._dids[account]}/{post.path}"
        record = {"$type": f"app.bsky.feed.{name}", "post": uri, **fields, "createdAt": _text(time)}
        return Step(time, account, (Write(f"app.bsky.feed.{name}/{post.rkey}", record),))

    def _say_it(self, account: int, time: int, parent: Post | None) -> Step:
        record = self._sayings.post(self._mentioned)
        root, depth = None, 0
        if parent is not None:
            root, depth = parent.root or parent, parent.depth + 1
            record["reply"] = {"root": self._strong(root), "parent": self._strong(parent)}
            self._answered.add(parent)
        if self._say() * 1_000 < model.QUOTES:
            quoted = self._posts.recent(self._say())
            if quoted is not None:
                record["embed"] = {"$type": "app.bsky.embed.record", "record": self._strong(quoted)}
        record["createdAt"] = _text(time)
        data = cbor.encode(record)
        post = Post(account, tid_from_micros(time, account & 1023), str(Cid.of_cbor(data)), root, depth)
        self._posts.add(post)
        if parent is not None:
            self._answered.add(post)
        mine = self._own_posts.setdefault(account, [])
        mine.append(post)
        if len(mine) > _OWN:
            del mine[0]
        return Step(time, account, (Write(post.path, data),))

    def _subject(self, name: str, time: int, other: int) -> dict[str, Any]:
        return {"$type": f"app.bsky.{name}", "subject": self._dids[other], "createdAt": _text(time)}

    def _strong(self, post: Post) -> dict[str, str]:
        return {"uri": f"at://{self._dids[post.account]}/{post.path}", "cid": post.cid}

    def _called(self, number: int) -> str:
        return self._named(number).partition(".")[0].title() if self._named else f"Account {number}"

    def _mentioned(self) -> tuple[str, str]:
        other = self._popular(self._say())
        return self._dids[other], self._named(other) if self._named else handle(other, self._renamed.get(other, 0))

    def _popular(self, u: float) -> int:
        """An account, the lower its number the likelier: followers have a heavy tail."""
        return int(u * u * u * self._population.accounts)


_POSTGATE = "app.bsky.feed.postgate"


def _text(time: int) -> str:
    return from_micros(time)
