"""`headrace up` killed at every point it passes, and at any moment; started again on its directory; compared.

Every write answered 200 reads back with its CID; what had no answer is wholly there or not at all; the log's records
are those and no others; and all that the AppView shows is what the model says.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time

import pytest

from schemas.crash import POINTS
from tests.oracle.compare import Comparison, Watch
from tests.support.http_network import DiedError, HttpNetwork
from tests.support.random_network import POST, Habits, RandomNetwork, Status, Takedown, Write, key

ACCOUNTS = 4
STEPS = 60
# Blobs that nothing refers to are collected after an hour: tests/unit/pds goes there with a clock of its own.
OUT_OF_REACH = {"blob.mid_collect"}
# Passed by commands and after a restore (tests/scenarios/test_generations.py, test_backup.py), by a relay
# (tests/relay/test_crash.py), by a mirror (tests/relay/test_plc_mirror.py), or by a cluster's processes alone
# (tests/cluster).
ELSEWHERE = (
    "generation.",
    "relay.",
    "lane.",
    "mirror.",
    "backup.",
    "restore.",
    "pds.mid_announce",
    "operations.",
    "derive.before_",
    "derive.after_",
    "derive.mid_expansion_txn",
)
HERE = sorted(point for point in POINTS if not point.startswith(ELSEWHERE))
HABITS = Habits(leave=0, again=0, diff=0, media=False, operate=8)
# At which pass to die, where a random one would come too late or before there is anything to lose.
ACCOUNT_MADE = {"account.pending": 3, "account.after_plc": 3, "account.after_append": 3}
SOMETHING_ELSE = {"account.mid_delete", "derive.mid_expansion", "blob.before_rename", "blob.after_rename"}


async def _work(network: HttpNetwork, dice: random.Random, steps: int, point: str) -> None:
    """What brings a process past its point: a random network, then whatever else the point asks for."""
    for number in range(len(network.dids), ACCOUNTS):
        await network.join(number)
    people = RandomNetwork(dice, network.dids, lambda: time.time_ns() // 1000, HABITS)
    people.posts += [uri for uri in network.kept if f"/{POST}/" in uri]
    await network.do_all(people.steps(steps))
    if point.startswith("blob."):
        await _show_pictures(network)
    elif point in ("account.mid_delete", "derive.mid_expansion"):
        await _leave_much_behind(network)


async def _show_pictures(network: HttpNetwork) -> None:
    for number, did in enumerate(network.dids):
        content = b"\x89PNG\r\n\x1a\n" + bytes([number]) * 500
        blob = await network.picture(did, content)
        if blob is None:
            continue
        embed = {"$type": "app.bsky.embed.images", "images": [{"alt": "", "image": blob}]}
        post = {"$type": POST, "text": "", "createdAt": "2026-01-01T00:00:00Z", "embed": embed}
        path = f"{POST}/{key(50)}"
        await network.do(Write(did, ((path, post),)))
        if f"at://{did}/{path}" in network.kept:
            network.blobs[did, blob["ref"]["$link"]] = content


async def _leave_much_behind(network: HttpNetwork) -> None:
    """An account of more records than derive buries in one step, deleted."""
    did = await _somebody(network)
    for page in range(6):
        post = {"$type": POST, "text": "", "createdAt": "2026-01-01T00:00:00Z"}
        await network.do(Write(did, tuple((f"{POST}/{key(100 + page * 200 + n)}", post) for n in range(200))))
    assert sum(uri.startswith(f"at://{did}/") for uri in network.kept) > 1_000
    await network.leave(did)


async def _post_in_sight(network: HttpNetwork) -> None:
    """A post of an account that is active, whatever the random steps did to it."""
    did = next(did for did in network.dids if did not in network.gone)
    await network.do(Takedown(did, put=False))
    await network.do(Status(did, "active"))
    path = f"{POST}/{key(2_000)}"
    await network.do(Write(did, ((path, {"$type": POST, "text": "", "createdAt": "2026-01-01T00:00:00Z"}),)))
    assert f"at://{did}/{path}" in network.kept


async def _somebody(network: HttpNetwork) -> str:
    """Somebody who may write."""
    for did in network.dids:
        status, _ = await network.call("GET", "com.atproto.server.getSession", did)
        state, _ = await network.call("GET", "com.atproto.repo.describeRepo", params={"repo": did})
        if (status, state) == (200, 200):
            return did
    raise AssertionError("everybody is away")


async def _nothing_is_lost(network: HttpNetwork, dice: random.Random, context: str) -> Watch:
    await network.settled()
    model, watch = network.read(), Watch()
    network.settle_unsure(model)
    assert {uri: record.cid for uri, record in model.records.items()} == network.kept, context
    await network.reads_back(model)
    for (did, cid), content in network.blobs.items():
        if model.accounts[did].state == "active":
            _, body = await network.call("GET", "com.atproto.sync.getBlob", params={"did": did, "cid": cid})
            assert body["body"] == content, context
    there = [did for did in network.dids if model.accounts[did].state == "active"]
    for viewer in (None, *dice.sample(there, min(2, len(there)))):
        comparison = Comparison(model, network, model.accounts, dice, watch=watch, context=context)
        await comparison.of_viewer(viewer)
    return watch


def test_every_crash_point_is_reached_here_or_said_not_to_be():
    assert set(HERE) > OUT_OF_REACH
    assert all(any(point.startswith(elsewhere) for point in POINTS) for elsewhere in ELSEWHERE)


@pytest.mark.chaos
@pytest.mark.parametrize("point", sorted(set(HERE) - OUT_OF_REACH))
async def test_a_network_that_dies_at_a_point_has_kept_all_it_acknowledged(tmp_path, point):
    seed = HERE.index(point)
    shards = (1, 4)[seed % 2]
    dice = random.Random(seed)
    nth = ACCOUNT_MADE.get(point, 1 if point in SOMETHING_ELSE else dice.randint(4, 14))
    if point in ("pds.before_flush", "pds.mid_flush"):
        nth = 2
    async with HttpNetwork(tmp_path, shards) as network:
        network.start(f"{point}:{nth}")

        with pytest.raises(DiedError):
            await _until_it_dies(network, dice, point)
        code = network.network.wait_for_death()
        assert code == -signal.SIGKILL
        assert network.said_to_crash(point)
        network.start()
        await _nothing_is_lost(network, dice, f"{point}:{nth}, {shards} shards")

        await _work(network, dice, 20, "")
        await _post_in_sight(network)
        watch = await _nothing_is_lost(network, dice, f"{point}:{nth}, {shards} shards, later")
        assert watch.counts["getPosts with something"]
        assert network.network.stop() == 0


async def _until_it_dies(network: HttpNetwork, dice: random.Random, point: str) -> None:
    while True:
        await _work(network, dice, STEPS, point)
        if point in SOMETHING_ELSE:
            raise AssertionError(f"{point} was not passed")


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(3))
async def test_a_network_killed_again_and_again_has_kept_all_it_acknowledged(tmp_path, seed):
    """Kills come from beside, while requests are under way: after so many answers, wherever the process then is."""
    dice = random.Random(seed)
    async with HttpNetwork(tmp_path) as network:
        for life in range(3):
            network.start()
            for number in range(len(network.dids), ACCOUNTS):
                await network.join(number)
            await _nothing_is_lost(network, dice, f"seed {seed} life {life}")
            with pytest.raises(DiedError):
                await _killed_on_the_way(network, dice)
            assert network.network.wait_for_death() == -signal.SIGKILL
        network.start()

        await _nothing_is_lost(network, dice, f"seed {seed} at the end")


async def _killed_on_the_way(network: HttpNetwork, dice: random.Random) -> None:
    people = RandomNetwork(dice, network.dids, lambda: time.time_ns() // 1000, HABITS)
    await network.do_all(people.steps(dice.randrange(STEPS)))
    asyncio.get_running_loop().call_later(dice.random() * 0.1, network.network.process.kill)
    while True:
        await network.do_all(people.steps(STEPS))
