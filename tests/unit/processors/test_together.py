"""What is asked at once ends at once: nothing goes on when one of it has failed."""

from __future__ import annotations

import asyncio

import pytest

from processors.lanes.together import together


async def test_all_are_done_when_it_returns():
    done = []

    async def one(number):
        await asyncio.sleep(0)
        done.append(number)

    await together(one(1), one(2))
    await together()

    assert sorted(done) == [1, 2]


async def test_others_have_ended_before_a_failure_is_told():
    ended = []

    async def fails():
        await asyncio.sleep(0)
        raise LookupError

    async def waits():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    with pytest.raises(LookupError):
        await together(waits(), fails())

    assert ended == [True]
