"""A gate's places: bounded in one turn of the loop too, passed on in order, never lost."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from api.gate import Gate, Limits, ShedError

LONG = 600.0


def there() -> bool:
    return True


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_place_is_held_until_the_loops_next_turn() -> None:
    gate = Gate(Limits(2, 10, LONG))
    entered = []
    for _ in range(5):
        entered.append(gate.try_enter())
        if entered[-1]:
            gate.leave()  # at once: an endpoint that waits for nothing

    assert entered == [True, True, False, False, False]
    await turns()
    assert gate.try_enter()


async def test_those_who_wait_go_in_the_order_in_which_they_came() -> None:
    gate = Gate(Limits(1, 10, LONG))
    assert gate.try_enter()
    went: list[int] = []

    async def one(number: int) -> None:
        await gate.enter(there)
        went.append(number)
        gate.leave()

    tasks = [asyncio.create_task(one(number)) for number in range(5)]
    await turns()
    assert (gate.waiting, went) == (5, [])
    gate.leave()
    await asyncio.gather(*tasks)
    await turns()

    assert went == [0, 1, 2, 3, 4]
    assert (gate.entered, gate.waiting) == (0, 0)


async def test_nobody_overtakes_those_who_wait() -> None:
    gate = Gate(Limits(1, 10, LONG))
    gate.try_enter()
    waiting = asyncio.create_task(gate.enter(there))
    await turns()
    gate.leave()

    assert not gate.try_enter()
    await waiting
    assert gate.entered == 1


def test_who_may_wait_no_millisecond_more_is_turned_away_on_uvloop_too() -> None:
    """What is due at once is a handle there that does not say when."""

    async def both() -> list[BaseException | None]:
        gate = Gate(Limits(1, 10, 0.0004))
        gate.try_enter()
        return await asyncio.gather(gate.enter(there), gate.enter(there), return_exceptions=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(both())

    assert [repr(each) for each in found] == [repr(ShedError("late"))] * 2


async def test_more_than_may_wait_are_turned_away_at_once() -> None:
    gate = Gate(Limits(1, 2, LONG))
    gate.try_enter()
    waiting = [asyncio.create_task(gate.enter(there)) for _ in range(2)]
    await turns()

    with pytest.raises(ShedError) as shed:
        await gate.enter(there)
    assert shed.value.reason == "full"
    assert gate.waiting == 2
    for task in waiting:
        task.cancel()


async def test_who_waits_too_long_is_turned_away_and_the_place_stays_whole() -> None:
    gate = Gate(Limits(1, 10, 0.01))
    gate.try_enter()
    found = await asyncio.gather(*(gate.enter(there) for _ in range(3)), return_exceptions=True)

    assert [each.reason for each in found if isinstance(each, ShedError)] == ["late", "late", "late"]
    assert (gate.entered, gate.waiting) == (1, 0)
    gate.leave()
    await turns()
    await gate.enter(there)
    assert gate.entered == 1


async def test_whoever_has_left_gives_the_turn_to_the_next() -> None:
    gate = Gate(Limits(1, 10, LONG))
    gate.try_enter()
    gone = asyncio.create_task(gate.enter(lambda: False))
    next_one = asyncio.create_task(gate.enter(there))
    await turns()
    gate.leave()
    await next_one

    with pytest.raises(ShedError) as shed:
        await gone
    assert shed.value.reason == "left"
    assert gate.entered == 1


@pytest.mark.parametrize("when", ["while it waits", "in the moment of its turn"])
async def test_who_is_cancelled_takes_no_place_along(when: str) -> None:
    gate = Gate(Limits(1, 10, LONG))
    gate.try_enter()
    waiting = asyncio.create_task(gate.enter(there))
    await turns()
    if when == "in the moment of its turn":
        gate.leave()
        asyncio.get_running_loop().call_soon(waiting.cancel)  # after the turn was given, before it is taken
    else:
        waiting.cancel()
        gate.leave()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await turns()

    assert (gate.entered, gate.waiting) == (0, 0)


@given(
    at_once=st.integers(1, 4),
    waiting=st.integers(0, 6),
    acts=st.lists(st.sampled_from(["come", "come", "go", "cancel", "turn"]), max_size=60),
)
def test_whatever_happens_limits_hold_and_all_places_come_back(at_once: int, waiting: int, acts: list[str]) -> None:
    async def play() -> None:
        gate = Gate(Limits(at_once, waiting, LONG))
        done = [asyncio.Event() for _ in acts]
        inside: set[int] = set()

        async def one(number: int) -> None:
            await gate.enter(there)
            inside.add(number)
            try:
                await done[number].wait()
            finally:
                inside.discard(number)
                gate.leave()

        tasks: list[asyncio.Task[None]] = []
        for number, act in enumerate(acts):
            if act == "come":
                tasks.append(asyncio.create_task(one(number)))
            elif act == "go" and inside:
                done[min(inside)].set()
            elif act == "cancel" and tasks:
                tasks[number % len(tasks)].cancel()
            elif act == "turn":
                await asyncio.sleep(0)
            assert len(inside) <= gate.entered <= at_once
            assert gate.waiting <= waiting
        for event in done:
            event.set()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        await turns()
        assert all(end is None or isinstance(end, ShedError | asyncio.CancelledError) for end in ends)
        assert (gate.entered, gate.waiting) == (0, 0)

    asyncio.run(play())
