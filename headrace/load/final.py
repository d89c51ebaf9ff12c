"""After the load: the views have seen everything, and counts are compared with what was done.

Does not own what was done (`tally.py`) nor posts in timelines (`checks.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from headrace.load import judge
from headrace.load.calls import Calls
from headrace.load.checks import WHAT as SHOWN
from headrace.load.messages import Checked
from headrace.load.result import Lag
from headrace.load.series import Series
from headrace.load.wire import Pool
from headrace.load.world import World

_AT_ONCE = 25  # posts of one getPosts
_TRIES = 3
_PAGES = 30
_COUNTS = {"like": "likeCount", "repost": "repostCount", "reply": "replyCount"}
WHAT = "counts of a post are what was done to it"


async def settled(ask: Callable[[], Awaitable[Lag | None]], seconds: float) -> float | None:
    """How long it took until nothing was behind; None if it took longer, or nobody says."""
    begin = time.monotonic()
    while time.monotonic() - begin <= seconds:
        lag = await ask()
        if lag is not None and lag.behind == 0:
            return round(time.monotonic() - begin, 3)
        await asyncio.sleep(0.1)
    return None


async def compare_counts(
    url: str, world: World, tallies: dict[tuple[str, str], tuple[int, int]], posts: int, series: Series
) -> None:
    """Look at the posts to which most was done, and say what is wrong with their counts to the series."""
    done: dict[str, int] = {}
    for (_, uri), (_, high) in tallies.items():
        done[uri] = done.get(uri, 0) + high
    chosen = sorted(done, key=lambda uri: (-done[uri], uri))[:posts]
    pool = Pool(url, limit=8, timeout=20.0)
    calls = Calls(pool.header)
    token = world.accounts[0].token
    try:
        for start in range(0, len(chosen), _AT_ONCE):
            asked = chosen[start : start + _AT_ONCE]
            series.check(await _compared(pool, calls.posts(token, asked), asked, world, tallies))
    finally:
        await pool.close()


async def look_again(url: str, world: World, unseen: list[tuple[str, int]], series: Series) -> None:
    """Posts that were not shown in time must be there now; say it to the series."""
    pool = Pool(url, limit=1, timeout=20.0)
    calls = Calls(pool.header)
    try:
        for uri, follower in unseen:
            times = await shown_times(pool, calls, world.accounts[follower].token, uri)
            if times is None:
                continue  # not answered: undecided
            wrong = [] if times == 1 else [f"{SHOWN}: {uri} is there {times} times for {follower} at last"]
            series.check(Checked({SHOWN: 1}, {SHOWN: 1} if wrong else {}, wrong))
    finally:
        await pool.close()


async def shown_times(pool: Pool, calls: Calls, token: str, uri: str) -> int | None:
    """How often a timeline shows a post, itself and not a repost; None if it is not answered to its end."""
    cursor, times = "", 0
    for _ in range(_PAGES):
        status, body, _ = await pool.ask(calls.timeline(token, 100, cursor))
        if status != 200:
            return None
        answer = msgspec.json.decode(body)
        times += sum(judge.key(item) == (uri, "") for item in answer["feed"])
        cursor = str(answer.get("cursor", ""))
        if not cursor:
            return times
    return times or None  # deeper than we look


async def _compared(
    pool: Pool, request: bytes, asked: list[str], world: World, tallies: dict[tuple[str, str], tuple[int, int]]
) -> Checked:
    """One page of posts; asked again when a count differs, as a view may be a moment behind its lag's metric."""
    details: list[str] = []
    made = 0
    for _ in range(_TRIES):
        status, body, error = await pool.ask(request)
        if status != 200:
            return Checked({}, {}, [f"counts were not compared: getPosts was answered {error or status}"])
        found = {each["uri"]: each for each in msgspec.json.decode(body)["posts"]}
        details, made = [], 0
        for uri in asked:
            for kind, name in _COUNTS.items():
                low, high = tallies.get((kind, uri), (0, 0))
                first = world.likes.get(uri, 0) if kind == "like" else 0
                count = found.get(uri, {}).get(name, -1)
                made += 1
                if not first + low <= count <= first + high:
                    details.append(f"{WHAT}: {name} of {uri} expected {first + low} to {first + high}, found {count}")
        if not details:
            break
        await asyncio.sleep(1.0)
    return Checked({WHAT: made}, {WHAT: len(details)} if details else {}, details[:10])
