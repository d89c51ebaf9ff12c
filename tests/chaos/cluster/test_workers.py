"""Workers are killed, frozen, replaced and multiplied while a random network flows: log and views are in the end what
one process made of it that nobody disturbed. With both runners, on one network a seed.
"""

from __future__ import annotations

import time

import pytest

from schemas.topics import EDGES, FANOUT
from tests.chaos.cluster.trial import SEED, Trial, in_time, trial
from tests.support.stack import LONG

pytestmark = [pytest.mark.cluster, pytest.mark.chaos, pytest.mark.timeout(3600 if LONG else 600)]
KILLS = 30 if LONG else 10
ROUNDS = 3 if LONG else 1


@in_time
async def test_kills_at_any_moment_lose_and_double_nothing(tmp_path, kafka_servers, cql_address, role):
    async with trial(tmp_path, kafka_servers, (cql_address[0],), cql_address[1], role, seed=SEED) as case:
        await case.fleet.start("derive-1", "derive-2", f"{role}-1", f"{role}-2")
        case.world.flow()
        await case.recovered("the start")
        for n in range(KILLS):
            await case.moment()
            victim = case.victim(role if n % 4 < 2 else "derive")
            await victim.kill()
            killed, fault = time.monotonic(), f"kill {n + 1} of {KILLS}, {victim.name}"
            # Every other time its shards are taken by the one who is left, before it comes back.
            if n % 2:
                await case.recovered(f"{fault}, the other goes on", killed)
                killed = time.monotonic()
            await victim.start()
            await case.recovered(f"{fault}, started again", killed)

        await case.finish()


@in_time
async def test_workers_come_and_go_freeze_and_hear_everything_twice(tmp_path, kafka_servers, cql_address, role):
    async with trial(tmp_path, kafka_servers, (cql_address[0],), cql_address[1], role, seed=SEED + 1) as case:
        await case.fleet.start("derive-1", f"{role}-1")
        case.world.flow()
        await case.recovered("one worker")
        for _ in range(ROUNDS):
            await _one_four_two(case)
            await _one_after_the_other(case)
            await _frozen(case, f"{role}-1")
            await _frozen(case, "derive-1")
            await _twice(case)

        await case.finish()


async def _one_four_two(case: Trial) -> None:
    role = case.role
    await case.fleet.start(f"{role}-2", f"{role}-3", f"{role}-4", "derive-2")
    await case.recovered("four workers")
    for name in (f"{role}-3", f"{role}-4"):
        await case.fleet.worker(name).end()
    await case.recovered("two workers")


async def _one_after_the_other(case: Trial) -> None:
    """SIGTERM, a clean end, and the next one."""
    for worker in [*case.fleet.running(case.role), *case.fleet.running("derive")]:
        await case.moment()
        signalled = time.monotonic()
        took = await worker.end()
        await worker.start()
        await case.recovered(f"{worker.name} ended in {took:.1f} s and started again", signalled)


async def _frozen(case: Trial, name: str) -> None:
    """It is frozen past its session, others take its shards; then it goes on as if nothing had been."""
    zombie = case.fleet.worker(name)
    await case.moment()
    zombie.freeze()
    await case.recovered(f"{name} frozen")
    assert zombie.code is None, "it was to be alive, and not to know"
    # It may find out, now or later, and end; it may start afresh. What it may not do is write anything.
    case.fleet.tend(name)
    zombie.thaw()
    await case.recovered(f"{name} thawed")


async def _twice(case: Trial) -> None:
    for topic in (EDGES, FANOUT):
        copied = await case.replay(topic, 0.4)
        assert copied > 20, f"{topic}: only {copied} messages came twice"
        await case.recovered(f"{copied} messages of {topic} twice")
