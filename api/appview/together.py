"""How one request's statements run: one after the other, or at once up to a bound. Which one is wiring's choice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from schemas.errors import XrpcError

Together = Callable[[list[Awaitable[None]]], Awaitable[None]]


async def in_turn(work: list[Awaitable[None]]) -> None:
    """For a store that answers on the loop, where tasks would cost more than its statements."""
    try:
        for each in work:
            await each
    finally:
        _close(work)


def at_once(limit: int) -> Together:
    """For a store across a network: at most `limit` statements of one request in flight; all end before it returns."""

    async def run(work: list[Awaitable[None]]) -> None:
        gate = asyncio.Semaphore(limit)

        async def one(each: Awaitable[None]) -> None:
            async with gate:
                await each

        try:
            async with asyncio.TaskGroup() as group:
                for each in work:
                    group.create_task(one(each))
        except ExceptionGroup as failed:
            # Whoever answers knows single errors; that we are wrong is worth more than that the store is away.
            raise min(failed.exceptions, key=lambda error: isinstance(error, XrpcError)) from None
        finally:
            _close(work)

    return run


def _close(work: list[Awaitable[None]]) -> None:
    """What was never begun, because something before it failed, is not to be waited for."""
    for each in work:
        if asyncio.iscoroutine(each):
            each.close()
