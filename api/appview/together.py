"""How one request's statements run: one after the other, or at once up to a bound. Which one is wiring's choice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Together = Callable[[list[Awaitable[None]]], Awaitable[None]]


async def in_turn(work: list[Awaitable[None]]) -> None:
    """For a store that answers on the loop, where tasks would cost more than its statements."""
    for each in work:
        await each


def at_once(limit: int) -> Together:
    """For a store across a network: at most `limit` statements of one request in flight; all end before it returns."""

    async def run(work: list[Awaitable[None]]) -> None:
        gate = asyncio.Semaphore(limit)

        async def one(each: Awaitable[None]) -> None:
            async with gate:
                await each

        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(one(each))

    return run
