"""Several things that wait, at once: as `asyncio.gather`, but that nothing goes on behind the back of who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*asked: Coroutine[Any, Any, None]) -> None:
    """Return when all are done; when one fails, the others are cancelled and have ended before it is said."""
    tasks = [asyncio.create_task(each) for each in asked]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
