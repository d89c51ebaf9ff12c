"""Writers: events of one mix that come when they are due, each by an account of this process's own.

Does not own when that is (`arrivals.py`), what was done to whom (`tally.py`) nor frames of an archive (`players.py`).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from string import ascii_lowercase, digits
from typing import Any

import msgspec

from headrace.load.calls import LIKE, REPOST, Calls
from headrace.load.means import Means
from headrace.load.plan import Writers
from headrace.load.world import Ranks, about, follow, post

_DIGITS = digits + ascii_lowercase
_TRIES = 8
_LIKES_KEPT = 2_000  # that may be taken back


def newcomer(tag: str, place: tuple[int, int], number: int) -> str:
    """The label of one who joins; of at most 18 characters, which servers take, for 1.6 million of the first places."""
    return "-".join((tag, *(_in_base_36(each) for each in (*place, number))))


def _in_base_36(number: int) -> str:
    high, low = divmod(number, 36)
    return (_in_base_36(high) if high else "") + _DIGITS[low]


class _Made(msgspec.Struct):
    uri: str


_made = msgspec.json.Decoder(_Made).decode
Effect = tuple[str, str, int]  # kind, subject's uri, how many more


class Writing:
    """One table of `writers`. `place` is its number and that of the process, as no others have them."""

    def __init__(self, writers: Writers, means: Means, rng: random.Random, place: tuple[int, int]) -> None:
        plan, world = means.plan, means.world
        self._plan, self._writers, self._world, self._pool = plan, writers, world, means.pool
        self._recorder, self._tally, self._rng, self._place = means.recorder, means.tally, rng, place
        celebrities = list(range(min(plan.population.celebrities, len(world.accounts))))
        self._own = celebrities if writers.by == "celebrities" and celebrities else means.own
        self._calls = Calls(means.pool.header)
        self._names = [each for each in writers.mix if world.posts or each in {"post", "follow", "createAccount"}]
        self._sums = list(accumulate(writers.mix[each] for each in self._names))
        self._authors = Ranks(len(self._own), 0.5)
        self._subjects = Ranks(len(world.posts), writers.hot) if world.posts else None
        self._likes: deque[tuple[int, str, str]] = deque(maxlen=_LIKES_KEPT)  # account, its like, the post
        self._joined = 0

    def fire(self, due: float) -> None:
        """Write, or count what could not be written."""
        if self._writers.batch > 1:
            self._fire_batch(due)
            return
        name = self._rng.choices(self._names, cum_weights=self._sums)[0]
        author = self._own[self._authors.draw(self._rng)]
        if name == "createAccount":
            self._joined += 1
            handle = newcomer(self._world.tag, self._place, self._joined) + self._plan.target.handle_domain
            request = self._calls.create_account(handle, f"load-{handle}", self._plan.target.invite_code)
            self._send("createAccount", request, due, [])
        elif name == "unlike" and self._likes:
            author, like, subject = self._likes.popleft()
            account = self._world.accounts[author]
            request = self._calls.delete_record(account.token, account.did, LIKE, like.rpartition("/")[2])
            self._send("deleteRecord", request, due, [("like", subject, -1)])
        else:
            account = self._world.accounts[author]
            record, effects = self._record(name, author)
            liked = effects[0][1] if name == "like" and effects else ""

            def keep(body: bytes) -> None:
                if liked:
                    self._likes.append((author, _made(body).uri, liked))

            request = self._calls.create_record(account.token, account.did, record)
            self._send("createRecord", request, due, effects, keep)

    def _fire_batch(self, due: float) -> None:
        author = self._own[self._authors.draw(self._rng)]
        names = [each for each in self._names if each not in {"unlike", "createAccount"}]
        sums = list(accumulate(self._writers.mix[each] for each in names))
        made = [
            self._record(each, author) for each in self._rng.choices(names, cum_weights=sums, k=self._writers.batch)
        ]
        account = self._world.accounts[author]
        request = self._calls.apply_writes(account.token, account.did, [record for record, _ in made])
        self._send("applyWrites", request, due, [effect for _, effects in made for effect in effects])

    def _record(self, name: str, author: int) -> tuple[dict[str, Any], list[Effect]]:
        world, rng = self._world, self._rng
        if name == "follow":
            return follow(world.accounts[rng.randrange(len(world.accounts))].did), []
        if name == "post":
            return post(rng), []
        if name == "reply":
            parent = world.posts[self._subject()]
            ref = {"uri": parent.uri, "cid": parent.cid}
            return post(rng, reply={"root": ref, "parent": ref}), [("reply", parent.uri, 1)]
        kind, collection = ("repost", REPOST) if name == "repost" else ("like", LIKE)
        for _ in range(_TRIES):
            subject = self._subject()
            if self._tally.take(kind, author, subject):
                break
        else:  # all that is hot has been liked: whatever is left
            subject = next((each for each in range(len(world.posts)) if self._tally.take(kind, author, each)), -1)
        if subject < 0:
            return post(rng), []
        return about(collection, world.posts[subject]), [(kind, world.posts[subject].uri, 1)]

    def _subject(self) -> int:
        assert self._subjects is not None
        return self._subjects.draw(self._rng)

    def _send(
        self,
        operation: str,
        request: bytes,
        due: float,
        effects: list[Effect],
        then: Callable[[bytes], None] | None = None,
    ) -> None:
        recorder, tally = self._recorder, self._tally

        def done(status: int, body: bytes, error: str) -> None:
            kind = "" if status == 200 else error or f"http_{status}"
            for what, uri, change in effects:
                tally.did(what, uri, change, kind)
            if kind:
                recorder.failed(operation, due, kind)
            else:
                recorder.answered(operation, due)
                if then is not None:
                    then(body)

        if not self._pool.send(request, done):
            recorder.dropped(operation, due)
