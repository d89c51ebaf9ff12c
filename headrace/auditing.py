"""Audits for as long as a network in one process runs; of a cluster `auditing_cluster` does.

Does not own what an audit looks at (`processors.audit`).
"""

from __future__ import annotations

import asyncio

from processors.audit import Auditor
from processors.rebuild.embedded import EmbeddedGenerations

_LONGEST_SECONDS = 60.0


async def audit(auditor: Auditor, generations: EmbeddedGenerations, seconds: float) -> None:
    """One account of the live generation each time; never when `seconds` is 0."""
    while seconds:
        await asyncio.sleep(seconds)
        await _once(auditor, generations)
    await asyncio.Event().wait()


async def _once(auditor: Auditor, generations: EmbeddedGenerations) -> None:
    """In a function of its own, so that nothing holds on to a generation between audits."""
    copy = generations.live
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            await auditor.sample(copy.store, copy.runner.reached, 1)
    except TimeoutError:
        return  # it was dropped meanwhile, or the machine is too busy to be looked at
