"""Calls are counted once each: as one that took so long, as a failure, or, cut off, as nothing."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.timings import BOUNDS, Timings


@given(st.lists(st.floats(0, 100), max_size=50))
def test_each_call_is_in_the_bucket_of_its_bound(found: list[float]) -> None:
    timings = Timings()
    for seconds in found:
        timings.took(seconds)

    below = [sum(seconds <= bound for seconds in found) for bound in BOUNDS]
    assert [sum(timings.counts[: place + 1]) for place in range(len(BOUNDS))] == below
    assert sum(timings.counts) == len(found)
    assert timings.seconds == pytest.approx(sum(found))


async def test_a_call_is_under_way_and_then_timed() -> None:
    timings, answer = Timings(), asyncio.get_running_loop().create_future()
    call = asyncio.ensure_future(timings.of(answer))
    await asyncio.sleep(0)
    under_way = timings.under_way
    answer.set_result("said")

    assert await call == "said"
    assert (under_way, timings.under_way, sum(timings.counts), timings.failed) == (1, 0, 1, 0)


async def test_a_call_that_raises_has_failed_and_one_that_is_cut_off_has_not() -> None:
    timings, loop = Timings(), asyncio.get_running_loop()
    broken, endless = loop.create_future(), loop.create_future()
    broken.set_exception(OSError("away"))
    with pytest.raises(OSError, match="away"):
        await timings.of(broken)
    call = asyncio.ensure_future(timings.of(endless))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

    assert (timings.failed, sum(timings.counts), timings.under_way) == (1, 0, 0)
