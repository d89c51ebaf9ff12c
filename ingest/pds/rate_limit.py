"""Rate limits of the reference (PROTOCOL 2.7; TS packages/pds/src/rate-limits.ts), as fixed windows in memory.

Pure but for the clock; bounded: the oldest windows go first when there are too many keys, which can only forgive.
Does not own how a request's address or account is found (api/xrpc.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

from ingest.pds.settings import DAY, HOUR, MINUTE

KeyKind = Literal["ip", "did", "identifier"]


@dataclass(frozen=True, slots=True)
class Rule:
    """`points` per `window` seconds, counted per `key`; rules of one name share their count."""

    name: str
    points: int
    window: int
    key: KeyKind


GLOBAL = Rule("global-ip", 3000, 5 * MINUTE, "ip")
GET_REPO = Rule("get-repo-ip", 6000, 5 * MINUTE, "ip")
WRITES = (Rule("repo-write-hour", 5000, HOUR, "did"), Rule("repo-write-day", 35_000, DAY, "did"))

CREATE_POINTS, UPDATE_POINTS, DELETE_POINTS = 3, 2, 1

BY_METHOD: dict[str, tuple[Rule, ...]] = {
    "com.atproto.repo.createRecord": WRITES,
    "com.atproto.repo.putRecord": WRITES,
    "com.atproto.repo.deleteRecord": WRITES,
    "com.atproto.repo.applyWrites": WRITES,
    "com.atproto.repo.uploadBlob": (Rule("upload-blob-day", 1000, DAY, "did"),),
    "com.atproto.server.createSession": (
        Rule("create-session-day", 300, DAY, "identifier"),
        Rule("create-session", 30, 5 * MINUTE, "identifier"),
    ),
    "com.atproto.sync.requestCrawl": (Rule("request-crawl", 60, 5 * MINUTE, "ip"),),
    "com.atproto.server.createAccount": (Rule("create-account", 100, 5 * MINUTE, "ip"),),
    "com.atproto.server.deleteAccount": (Rule("delete-account", 50, 5 * MINUTE, "ip"),),
    "com.atproto.server.requestAccountDelete": (
        Rule("request-account-delete-day", 15, DAY, "did"),
        Rule("request-account-delete-hour", 5, HOUR, "did"),
    ),
    "com.atproto.identity.updateHandle": (
        Rule("update-handle", 10, 5 * MINUTE, "did"),
        Rule("update-handle-day", 50, DAY, "did"),
    ),
    "com.atproto.sync.getRepo": (GET_REPO,),
}
"""Every other method, and these too, count against GLOBAL, except getRepo."""


class State(msgspec.Struct, frozen=True):
    """Where a window stands after a request; `reset` is unix seconds."""

    rule: Rule
    limit: int
    remaining: int
    reset: int
    exceeded: bool

    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
            "RateLimit-Policy": f"{self.limit};w={self.rule.window}",
        }


class RateLimiter:
    """HOT: one dictionary entry a rule and key. `now` gives unix seconds."""

    def __init__(self, now: Callable[[], float], *, scale: float = 1.0, capacity: int = 100_000) -> None:
        self._now = now
        self._scale = scale
        self._capacity = capacity
        self._windows: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def take(self, rule: Rule, key: str, points: int = 1) -> State:
        """Count `points` against `rule` for `key`."""
        now = self._now()
        limit = int(rule.points * self._scale)
        windows = self._windows
        place = (rule.name, key)
        window = windows.get(place)
        if window is None or window[0] <= now:
            if window is not None:
                del windows[place]
            window = windows[place] = [now + rule.window, 0]
            if len(windows) > self._capacity:
                windows.popitem(last=False)
        window[1] += points
        used = int(window[1])
        return State(rule, limit, max(0, limit - used), int(window[0]), used > limit)

    def take_all(self, taken: Iterable[tuple[Rule, str, int]]) -> State | None:
        """Count against several rules; the answer is the first that is exceeded, else the one nearest its limit."""
        tightest: State | None = None
        for rule, key, points in taken:
            state = self.take(rule, key, points)
            if state.exceeded:
                return state
            if tightest is None or state.remaining < tightest.remaining:
                tightest = state
        return tightest
