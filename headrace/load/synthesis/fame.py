"""What happens around one account that everybody follows: it posts, all like it, it posts again. Pure.

The hottest that a network can have: one partition that counts, one post in every timeline. Nothing is drawn. Does not
own keys, trees and frames (`repos.py`) nor the shape of a real network (`plan.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from headrace.load.synthesis.steps import Population, Step, Write
from schemas import cbor
from schemas.cid import Cid
from schemas.datetimes import from_micros
from schemas.tid import tid_from_micros

FAMOUS = 0
"""Its number."""
_GAP = 1_000  # microseconds between two foundings, and the least between two events
_POST, _LIKE, _FOLLOW = "app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.graph.follow"


class Fame:
    """`dids` are the accounts' DIDs by number. Steps of accounts that are not `mine` may come without writes."""

    def __init__(
        self, population: Population, dids: Sequence[str], mine: Callable[[int], bool] = lambda _: True
    ) -> None:
        self._population, self._dids, self._mine = population, dids, mine

    def foundings(self) -> Iterator[Step]:
        """Each account comes into being, and all but the first follow the first."""
        accounts, start = self._population.accounts, self._population.start
        for number in range(accounts):
            at = start - _GAP * (accounts - number)
            path = "app.bsky.actor.profile/self" if number == FAMOUS else f"{_FOLLOW}/{_key(at, number)}"
            yield Step(at, number, self._writes(number, path, at), found=True)

    def events(self) -> Iterator[Step]:
        """A post, a like of it by each of the others, and from the beginning."""
        population = self._population
        others = population.accounts - 1
        uri = cid = ""
        for number in range(population.events):
            time, turn = _at(population, number), number % (others + 1)
            if turn == 0:
                path, text = f"{_POST}/{_key(time, FAMOUS)}", f"to all {others} of you, {number // (others + 1) + 1}"
                record = cbor.encode({"$type": _POST, "text": text, "createdAt": from_micros(time)})
                uri, cid = f"at://{self._dids[FAMOUS]}/{path}", str(Cid.of_cbor(record))
                yield Step(time, FAMOUS, (Write(path, record),))
            elif self._mine(turn):
                like = {"$type": _LIKE, "subject": {"uri": uri, "cid": cid}, "createdAt": from_micros(time)}
                yield Step(time, turn, (Write(f"{_LIKE}/{_key(time, turn)}", like),))
            else:
                yield Step(time, turn)

    def _writes(self, number: int, path: str, at: int) -> tuple[Write, ...]:
        if not self._mine(number):
            return ()
        said = from_micros(at)
        if number == FAMOUS:
            return (Write(path, {"$type": "app.bsky.actor.profile", "displayName": "Known to all", "createdAt": said}),)
        return (Write(path, {"$type": _FOLLOW, "subject": self._dids[FAMOUS], "createdAt": said}),)


def post_uri(population: Population, did: str, number: int) -> str:
    """Of the famous account's post of a number: 0, 1, ..."""
    return f"at://{did}/{_POST}/{_key(_at(population, number * population.accounts), FAMOUS)}"


def _at(population: Population, number: int) -> int:
    gap = _GAP if population.rate is None else max(1, int(1e6 / population.rate))
    return population.start + gap * (number + 1)


def _key(time: int, number: int) -> str:
    return tid_from_micros(time, number & 1023)
