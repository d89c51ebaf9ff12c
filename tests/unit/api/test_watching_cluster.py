"""What the page of the river is told of a cluster, also while broker or store does not answer."""

from __future__ import annotations

import asyncio

import views
from headrace.river import NOWHERE, Standing
from headrace.watching_cluster import ClusterWatch
from views.store_scylla import StoreUnavailableError

SEEN = Standing(
    {("commits", 0): 1, ("records", 0): 2, ("edges", 1): 3, ("fanout", 1): 4, ("operations", 1): 6},
    (5, 6),
    7,
    (0.0, 8.5),
    {"commits": 10, "records": 20, "edges": 30, "fanout": 40},
)


class Flow:
    """A river whose looks end when they are let."""

    def __init__(self) -> None:
        self.last, self.unseen, self.looks = NOWHERE, 2.0, 0
        self.begun, self.let = asyncio.Event(), asyncio.Event()
        self.away = False

    async def look(self) -> Standing:
        self.looks += 1
        self.begun.set()
        await self.let.wait()
        if self.away:
            raise StoreUnavailableError("away")
        self.last, self.unseen = SEEN, 0.0
        return SEEN


def watch_of(flow: Flow) -> ClusterWatch:
    return ClusterWatch("1", flow, generation="g1", shards=2, views=views.ALL, ready=lambda: True)  # type: ignore[arg-type]


async def test_what_waits_is_told_by_shard_and_by_view() -> None:
    flow = Flow()
    flow.let.set()
    told = await watch_of(flow).look()

    assert (told["ready"], told["away"], told["behind"], told["freshness"]) == (True, None, 7, 8.5)
    assert told["stages"] == SEEN.passed
    assert told["shards"] == [
        {"shard": 0, "commits": 1, "records": 2, "edges": 0, "fanout": 0, "age": 0.0},
        {"shard": 1, "commits": 0, "records": 0, "edges": 3, "fanout": 4, "age": 8.5},
    ]
    waiting = {each["view"]: each["waiting"] for each in told["views"]}
    assert (waiting["posts"], waiting["followers"], waiting["timelines"]) == (2, 5, 9)
    assert waiting["operations"] == 6
    assert len(waiting) == len(views.ALL)


async def test_many_who_look_cause_one_look() -> None:
    flow = Flow()
    watch = watch_of(flow)
    looking = [asyncio.create_task(watch.look()) for _ in range(5)]
    await flow.begun.wait()
    flow.let.set()
    told = await asyncio.gather(*looking)
    again = await watch.look()

    assert [each["behind"] for each in (*told, again)] == [7] * 6
    assert flow.looks == 1


async def test_while_the_store_is_away_the_last_look_is_shown_and_said_to_be_old() -> None:
    flow = Flow()
    flow.let.set()
    watch = watch_of(flow)
    await watch.look()
    flow.away, flow.unseen = True, 40.0
    told = await watch.look()

    assert (told["ready"], told["away"]) == (False, "Broker or store has not answered for 40 s")
    assert (told["behind"], told["freshness"]) == (7, 48.5)


async def test_a_look_under_way_ends_with_the_process() -> None:
    flow = Flow()
    watch = watch_of(flow)
    looking = asyncio.create_task(watch.look())
    await flow.begun.wait()
    await watch.close()
    told = await looking

    assert (flow.looks, told["behind"]) == (1, 0)
