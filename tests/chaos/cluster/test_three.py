"""Three brokers and three stores, replication 3: one of each dies under a network that flows, and nobody waits for it.

Unlike one broker alone, which everybody waits for (`test_stack.py`): writes are acknowledged and shown while a node is
away, and readers are answered all the time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from tests.chaos.cluster.trial import SEED, Trial, trial
from tests.chaos.cluster.world import until
from tests.support.asking import AnsweredError, InProcess
from tests.support.devstack.node import Node
from tests.support.stack import only_long
from views.store_scylla import StoreUnavailableError

pytestmark = [pytest.mark.cluster, pytest.mark.chaos, pytest.mark.timeout(3600)]
AWAY_SECONDS = 10.0
VIEWS = (("feed.getTimeline", False), ("feed.getAuthorFeed", True), ("actor.getProfile", True))


class Reader:
    """Somebody who reads without a pause. Counts what was answered, what was not, and the longest answer."""

    def __init__(self, case: Trial) -> None:
        self._case = case
        self._asking = InProcess(case.world.store)
        self.answered = 0
        self.errors: Counter[str] = Counter()
        self.longest = 0.0

    async def read(self) -> None:
        """Until cancelled."""
        dids = self._case.world.twin.dids
        while True:
            for viewer in dids:
                for name, of_actor in VIEWS:
                    more = {"actor": viewer} if of_actor else {}
                    started = time.monotonic()
                    try:
                        await self._asking.ask(f"app.bsky.{name}", viewer, **more)
                    except StoreUnavailableError as error:
                        self.errors[type(error).__name__] += 1
                    except AnsweredError:  # of an account that is deleted or taken down: an answer
                        self.answered += 1
                    else:
                        self.answered += 1
                    self.longest = max(self.longest, time.monotonic() - started)
                    await asyncio.sleep(0)


@only_long
async def test_one_of_three_dies_and_nobody_waits_for_it(tmp_path, own_stack):
    stack = await asyncio.to_thread(own_stack, brokers=3, stores=3)
    place = (tmp_path, stack.servers, stack.hosts, stack.port, "plain")
    async with trial(*place, seed=SEED + 5, replication=stack.replication) as case:
        await case.fleet.start("derive-1", "plain-1", "plain-2")
        case.fleet.tend(*case.fleet.workers)
        case.world.flow()
        await case.recovered("the start")
        reader = Reader(case)
        reading = asyncio.create_task(reader.read())
        for node in (case.dice.choice(stack.kafka), case.dice.choice(stack.cql)):
            await case.moment()
            await _dies(case, node, reader)

        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await case.finish()
        print(f"chaos: three: {case.fleet.restarts} restarts; {reader.answered} answers, {dict(reader.errors)} errors")
        assert not reader.errors
        assert reader.answered > len(case.world.twin.dids)


async def _dies(case: Trial, node: Node, reader: Reader) -> None:
    """What is written while it is away is shown before it is back; then it comes back."""
    died, pid = time.monotonic(), node.pid
    answered, reader.longest = reader.answered, 0.0
    await asyncio.to_thread(node.kill)
    for again in range(3):  # new entries each time: they are written, derived and shown without it
        await case.recovered(f"{node.name} is dead, {again + 1}", died if not again else None)

    async def long_enough() -> bool:
        return time.monotonic() - died > AWAY_SECONDS

    await until(long_enough, lambda: "the clock stands still", 2 * AWAY_SECONDS, case.world, case.fleet)
    assert node.pid is None
    assert reader.answered > answered
    print(
        f"chaos: three: {node.name} away for {time.monotonic() - died:.0f} s: {reader.answered - answered} answers,"
        f" the longest took {reader.longest:.1f} s, errors so far {dict(reader.errors)}"
    )
    await asyncio.to_thread(node.start)
    assert node.pid not in {None, pid}
    await case.recovered(f"{node.name} is back", time.monotonic())
