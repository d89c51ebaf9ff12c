"""What it costs a page to ask what its viewer has set (mutes, bookmarks, threads): `python -m tests.bench.viewer_own`.

Pages of 30 of timelines of a small network of the real mix, as one process answers them, without HTTP: CPU a page as if
nobody could set anything, of the same viewers, who have set nothing, and of the same once each has set thirty things.
The ways take turns page by page, so that a slow machine is slow for all of them. Then the statements that an AppView
of a cluster would give for such pages. Nothing is asserted about speed.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import uvloop

from api.appview import loader
from api.appview.own import Own
from api.appview.together import at_once
from schemas.operations import BOOKMARK, THREAD_MUTE
from tests.bench.cluster_reads import network
from tests.support.asking import InProcess
from tests.views.appview import REMOTE, Counting
from views import bookmarks_by_time, operations, posts
from views.store import Batch, Store
from views.store_cached import CachedStore
from views.store_sqlite import SqliteStore

VIEWERS: Final = 40
ROUNDS: Final = 60
SET: Final = 30
NOT_ASKED, NOTHING, SOME = "as if nobody could", "nothing set", f"{SET} things set"


class Unasked(Own):
    """Of nobody: what a page of no viewer asks."""

    def __init__(self, store: Store, viewer: str | None, *, remote: bool) -> None:  # noqa: ARG002
        super().__init__(store, None, remote=remote)


@contextmanager
def asked_by(how: type[Own]) -> Iterator[None]:
    said, loader.Own = loader.Own, how  # type: ignore[misc]
    try:
        yield
    finally:
        loader.Own = said  # type: ignore[misc]


async def page(views: InProcess, viewer: str) -> bytes:
    answer = await views.answer("app.bsky.feed.getTimeline", viewer, limit=30)
    assert isinstance(answer, bytes)
    return answer


async def rounds(views: InProcess, viewers: list[str], ways: dict[str, type[Own]]) -> dict[str, list[float]]:
    """By way, the CPU of a page in microseconds, one figure a round."""
    dice, found = random.Random(5), {name: [] for name in ways}  # type: dict[str, list[float]]
    for turn in range(ROUNDS + 1):  # the first fills what is kept
        spent = dict.fromkeys(ways, 0)
        for viewer in viewers:
            for name in dice.sample(list(ways), len(ways)):
                with asked_by(ways[name]):
                    begun = time.process_time_ns()
                    await page(views, viewer)
                    spent[name] += time.process_time_ns() - begun
        for name, nanoseconds in spent.items():
            found[name] += [nanoseconds / 1e3 / len(viewers)] if turn else []
    return found


def say(found: dict[str, list[float]]) -> None:
    base, *others = found.items()
    print(f"{base[0]:20} {median(base[1]):7.1f} us a page")
    for name, figures in others:
        shares = sorted(figure / plain - 1 for figure, plain in zip(figures, base[1], strict=True))
        low, middle, high = (shares[int(len(shares) * share)] for share in (0.25, 0.5, 0.75))
        spread = f"{middle:+.1%} in a round (half of them {low:+.1%} to {high:+.1%})"
        print(f"{name:20} {median(figures):7.1f} us a page, {spread}")


async def set_things(store: CachedStore, people: list[str], uris: list[str]) -> None:
    dice, offset = random.Random(7), 0
    for did in people:
        rows: dict[Any, Any] = {}
        marked: dict[Any, Any] = {}
        for number, uri in enumerate(dice.sample(uris, SET)):
            offset += 1
            kind, value = (BOOKMARK, b"cid") if number % 2 else (THREAD_MUTE, b"")
            rows[kind, uri] = (did, kind, uri, value, offset, offset)
            if kind == BOOKMARK:
                marked[offset, uri] = (did, offset, uri, "cid")
        batch = {operations.TABLE: {(did,): rows}, bookmarks_by_time.TABLE: {(did,): marked}}
        await store.apply(Batch(batch, {}, {("operations", 0): offset}, {}))


async def statements(store: SqliteStore, viewers: list[str]) -> tuple[float, float]:
    """Of an AppView of a cluster, a page, nothing kept: without asking what its viewer has set, and with it."""
    found = []
    for how in (Unasked, Own):
        counting = Counting(store)
        views = InProcess(counting, together=at_once(8), in_time=REMOTE)  # type: ignore[arg-type]
        with asked_by(how):
            for viewer in viewers:
                await page(views, viewer)
        found.append((counting.keys + counting.slices) / len(viewers))
    return found[0], found[1]


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as held:
        source, people = await network(Path(held))
        viewers = random.Random(3).sample(people, VIEWERS)
        store = CachedStore(source)
        views = InProcess(store)
        sizes = [(await page(views, viewer)).count(b'{"post":') for viewer in viewers]
        print(f"pages of {sum(sizes) / len(sizes):.1f} items")
        say(await rounds(views, viewers, {NOT_ASKED: Unasked, NOTHING: Own}))
        without, asking = await statements(source, viewers)
        print(f"{asking - without:.1f} statements of {asking:.1f} a page in a cluster")
        await set_things(store, people, [str(row[0]) for row in source.scan(posts.TABLE)])
        say(await rounds(views, viewers, {NOT_ASKED: Unasked, SOME: Own}))
        await source.close()


if __name__ == "__main__":
    uvloop.run(main())
