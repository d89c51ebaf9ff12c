"""The task that writes a PDS's transactions, while there is nothing to write."""

from __future__ import annotations

import asyncio

from ingest.log_kafka.pds import writer as pds_writer
from ingest.log_kafka.pds.writer import Writer


class Quiet:
    """Transactions of a log that nobody appends to."""

    async def look(self):
        await asyncio.sleep(0)


class Heads:
    time = 0


async def test_checkpoints_that_are_not_there_yet_are_asked_for_once_a_heartbeat(monkeypatch):
    """Until the account files follow there are none: the task waits, and does not ask again and again."""
    monkeypatch.setattr(pds_writer, "HEARTBEAT", 3_600.0)
    asked = 0

    async def checkpoints():
        nonlocal asked
        asked += 1
        return {}

    async def recover(*_):
        raise AssertionError("nothing was sent")

    writer = Writer(
        Quiet(),
        Heads(),
        name="a",
        shards=1,
        group="g",
        now=lambda: 0,
        recover=recover,
        checkpoints=checkpoints,
        committed=lambda *_: None,
    )
    for _ in range(300):
        await asyncio.sleep(0)
    writer.task.cancel()
    await asyncio.wait([writer.task])

    assert asked == 1
