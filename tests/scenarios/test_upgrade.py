"""An upgrade of one process: the old version's data, the new version's code, and back, while readers go on asking."""

from __future__ import annotations

import random
import time

import pytest

from tests.oracle.compare import Comparison, Watch
from tests.scenarios.test_generations import ok, ready, states
from tests.support import older
from tests.support.http_network import HttpNetwork
from tests.support.open_readers import OpenReaders
from tests.support.random_network import POST, Habits, RandomNetwork, Write, key

FOLLOW = "app.bsky.graph.follow"
HABITS = Habits(leave=0, again=0, diff=0, media=False, status=0, block=0)
EVERY = 0.1


async def compared(network, context):
    await network.settled()
    watch = Watch()
    await Comparison(network.read(), network, network.dids, random.Random(1), watch=watch, context=context).everything(
        [None, *network.dids]
    )
    assert watch.counts["getPosts with something"]


@pytest.mark.timeout(900)
async def test_a_new_version_builds_its_views_and_no_read_fails_while_they_are_changed(tmp_path):
    async with HttpNetwork(tmp_path, shards=2) as network:
        network.network.module = older.NAME
        network.start()
        for number in range(4):
            await network.join(number)
        *writers, quiet = network.dids
        follows = [f"{FOLLOW}/{key(n)}" for n in range(len(writers))]
        for path, did in zip(follows, writers, strict=True):
            follow = {"$type": FOLLOW, "subject": did, "createdAt": "2026-01-01T00:00:00Z"}
            await network.do(Write(quiet, ((path, follow),)))
        people = RandomNetwork(random.Random(3), writers, lambda: time.time_ns() // 1000, HABITS)
        await network.do_all(people.steps(40))
        await compared(network, "the old version")
        assert await states(network) == {"g1": "live"}
        assert network.network.stop() == 0

        # The new version builds before it serves: its first answer is right, and the old views are kept.
        network.network.module = "headrace"
        network.start()
        assert await states(network) == {"g1": "retired", "g2": "live"}
        asks = [
            (
                f"/xrpc/app.bsky.graph.getFollows?actor={quiet}",
                lambda body: {view["did"] for view in body["follows"]} == set(writers),
            ),
            (f"/xrpc/app.bsky.actor.getProfile?actor={quiet}", lambda body: body["followsCount"] == len(writers)),
        ]
        async with OpenReaders([network.network.url], asks, EVERY) as readers:
            await network.do_all(people.steps(20))
            await ok(network, "views/build", name="g3")
            await ready(network, "g3")
            diff = await ok(network, "views/diff", name="g2", other="g3")
            assert diff["equal"], diff
            for name in ("g3", "g2", "g3"):
                await readers.have_read(network.network.url, 5)
                assert (await ok(network, "views/flip", name=name))["state"] == "live"
                await network.do_all(people.steps(10))
            await readers.have_read(network.network.url, 5)
            assert readers.wrong == []
        await compared(network, "the new version")
        assert network.network.stop() == 0

        # Back: the old version does not know the shape that is live, and goes on with its own, which was kept.
        network.network.module = older.NAME
        network.start()
        assert await states(network) == {"g1": "live", "g2": "retired", "g3": "retired"}
        post = {"$type": POST, "text": "back", "createdAt": "2026-01-01T00:00:00Z"}
        await network.do(Write(quiet, ((f"{POST}/{key(1)}", post),)))
        await compared(network, "the old version again")
        assert network.network.stop() == 0
