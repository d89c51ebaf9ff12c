"""A store that stalls under readers: answers, answers without a part, or 503, and none waits for all the others.

The store is stopped whole (SIGSTOP): it takes connections and questions and says nothing, unlike one that is away.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import orjson
import pytest

from api.appview.gate import GatedStore
from api.appview.late import within
from api.appview.together import at_once
from schemas.errors import XrpcError
from tests.bench.cluster_reads import copied
from tests.support import cql_store
from tests.support.asking import InProcess
from tests.views.conftest import CID, World, did
from views import ALL
from views.store_recent import RecentStore
from views.store_scylla import StoreUnavailableError
from views.store_sqlite import SqliteStore

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

TABLES = tuple(view.table for view in ALL)
TIMELINE, POSTS = "app.bsky.feed.getTimeline", "app.bsky.feed.getPosts"
PEOPLE = [did(f"p{c}") for c in "abcdefghijkl"]
STATEMENTS = 64
READERS = 16
LIMIT = 60.0  # seconds of a request, on a machine that does ten other things; a queue behind the stall takes minutes


class Counted:
    """The store, which says how much of it is under way."""

    def __init__(self, store):
        self._store = store
        self.now = self.most = 0

    def __getattr__(self, name):
        asked = getattr(self._store, name)

        async def ask(*args, **more):
            many = len(args[1]) if name != "slice" and len(args) > 1 else 1
            self.now += many
            self.most = max(self.most, self.now)
            try:
                return await asked(*args, **more)
            finally:
                self.now -= many

        return ask


async def told(folder):
    """The rows of a few people who follow each other and post."""
    source = SqliteStore(folder / "views.sqlite", TABLES)
    world = World(source)
    for number, who in enumerate(PEOPLE):
        world.account(who, f"{who[8:10]}.test")
        for other, each in enumerate(PEOPLE):
            world.follow(who, number * 100 + other, each)
    uris = []
    for number in range(120):
        ref = {"uri": random.Random(number).choice(uris), "cid": CID} if number % 3 == 2 else None
        fields = {} if ref is None else {"reply": {"root": ref, "parent": ref}}
        uris.append(world.post(PEOPLE[number % len(PEOPLE)], 10_000 + number, **fields))
    await world.run()
    return source


async def test_readers_of_a_store_that_stalls_are_answered_in_time_and_all_is_well_after_it(own_stack, tmp_path):
    stack = own_stack(brokers=0, stores=1)
    (node,) = stack.cql
    settings = cql_store.settings_of((stack.hosts[0], stack.port), timeout=2.0, patience=2.0)
    source = await told(tmp_path)
    seen, lacked, stop = Counter(), Counter(), asyncio.Event()
    async with cql_store.opened(settings, TABLES, create=True) as store:
        await copied(source, store)
        counted = Counted(store)
        gated = GatedStore(counted, STATEMENTS, StoreUnavailableError)
        in_time = within(1.0, lambda part: lacked.update([part]))
        kept = InProcess(RecentStore(gated, 0.2), together=at_once(8), big_kept=1.0, in_time=in_time)
        truth = InProcess(source)
        pages = {who: await truth.answer(TIMELINE, who, limit=10) for who in PEOPLE}

        async def reader(number):
            dice = random.Random(number)
            while not stop.is_set():
                who = dice.choice(PEOPLE)
                try:
                    async with asyncio.timeout(LIMIT):
                        page = await kept.answer(TIMELINE, who, limit=10)
                except XrpcError as error:
                    seen["refused" if error.status == 503 else repr(error)] += 1
                else:
                    whole = page == pages[who]
                    seen["whole" if whole else "degraded"] += 1
                    # What it goes without it says nothing of; it never says less of what there is.
                    assert whole or [item["post"]["uri"] for item in orjson.loads(page)["feed"]] == [
                        item["post"]["uri"] for item in orjson.loads(pages[who])["feed"]
                    ]
                await asyncio.sleep(0)

        async def until(name, more):
            wanted = seen[name] + more
            while seen[name] < wanted and not any(each.done() for each in readers):  # noqa: ASYNC110 - others' doing
                await asyncio.sleep(0.02)

        readers = [asyncio.create_task(reader(number)) for number in range(READERS)]
        try:
            await until("whole", 10)
            await asyncio.to_thread(node.pause)
            try:
                await until("refused", 2 * READERS)
                stalled = dict(seen)
            finally:
                await asyncio.to_thread(node.resume)
            await until("whole", READERS)
        finally:
            stop.set()
            await asyncio.gather(*readers)
        async with asyncio.timeout(LIMIT):
            after = [await kept.answer(TIMELINE, who, limit=10) for who in PEOPLE]
    await source.close()

    print(f"whole, degraded, refused: {seen}; when the stall ended {stalled}; parts left out: {lacked}")
    assert set(seen) <= {"whole", "degraded", "refused"}
    assert stalled["refused"] >= 2 * READERS
    assert counted.most <= STATEMENTS
    assert counted.now == 0
    assert after == list(pages.values())
