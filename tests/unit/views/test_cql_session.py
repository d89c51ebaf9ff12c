"""What becomes of statements whose asker has left. No store runs."""

from __future__ import annotations

import asyncio
import gc

from cassandra import InvalidRequest

from views.cql.session import CqlSession
from views.cql.settings import CqlSettings


class Refusing:
    """A driver that refuses whatever it is given, at once."""

    def execute_async(self, *_args, **_options):
        raise InvalidRequest("no such table")


async def test_who_leaves_while_statements_are_handed_over_leaves_no_unread_failure_behind():
    """Cut off between two turns of handing over, nobody waits for the answer any more."""
    said = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context["message"]))
    session = CqlSession(None, Refusing(), CqlSettings(hosts=("nowhere",)))
    asking = asyncio.create_task(session.run([object()] * 100))
    await asyncio.sleep(0)

    asking.cancel()
    await asyncio.wait([asking])
    for _ in range(5):
        await asyncio.sleep(0)
    assert asking.cancelled()
    del asking
    gc.collect()

    assert said == []
