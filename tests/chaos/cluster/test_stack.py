"""Broker and store are killed under a network that flows, and are away for ten seconds."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.chaos.cluster.trial import ROLES, SEED, Trial, trial
from tests.chaos.cluster.world import until
from tests.support.devstack.node import Node
from tests.support.devstack.stack import Stack
from tests.support.stack import LONG, only_long

pytestmark = [pytest.mark.cluster, pytest.mark.chaos, pytest.mark.timeout(3600 if LONG else 600)]
AWAY_SECONDS = 10.0
ROUNDS = 3 if LONG else 1


@only_long
@pytest.mark.parametrize("role", ROLES)
async def test_a_broker_and_a_store_may_die_and_come_back(tmp_path, own_stack, role):
    await _all_die_in_turn(tmp_path, await asyncio.to_thread(own_stack), role)


@only_long
@pytest.mark.parametrize("role", ROLES)
async def test_one_of_three_may_die_at_a_time(tmp_path, own_stack, role):
    await _all_die_in_turn(tmp_path, await asyncio.to_thread(own_stack, brokers=3, stores=3), role)


async def _all_die_in_turn(directory: Path, stack: Stack, role: str) -> None:
    place = (directory, stack.servers, stack.hosts, stack.port, role)
    async with trial(*place, seed=SEED + 2, replication=stack.replication) as case:
        await case.fleet.start("derive-1", f"{role}-1", f"{role}-2")
        case.fleet.tend(*case.fleet.workers)
        case.world.flow()
        await case.recovered("the start")
        for _ in range(ROUNDS):
            for node in (*stack.kafka, *stack.cql):
                await case.moment()
                back = await _dies(case, node)
                await case.recovered(f"{node.name} was away for {AWAY_SECONDS:.0f} s and is back", back)

        await case.finish()
        print(f"chaos: {role}: {case.fleet.restarts} restarts of workers that could not go on")


async def _dies(case: Trial, node: Node) -> float:
    """When it was back."""
    died, pid = time.monotonic(), node.pid
    await asyncio.to_thread(node.kill)

    async def long_enough() -> bool:
        return time.monotonic() - died > AWAY_SECONDS

    await until(long_enough, lambda: "the clock stands still", 2 * AWAY_SECONDS, case.world, case.fleet)
    await asyncio.to_thread(node.start)

    assert node.pid not in {None, pid}
    return time.monotonic()
