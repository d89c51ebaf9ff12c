"""A lane gets every message behind its saved progress, whatever a stream does that was sought and rebalanced."""

from __future__ import annotations

import asyncio
import random

import pytest

from processors.lanes.slot import Slot
from processors.lanes.stages import Message


class Lane:
    def __init__(self, topic, offset):
        self.topic, self.shard, self.offset = topic, 0, offset


class Opener:
    """Of `Lanes` what a slot asks of it."""

    def __init__(self, topic, offset):
        self.lane = Lane(topic, offset)
        self.opened = asyncio.Event()
        self.source = None

    async def open(self, _topic, _shard):
        await self.opened.wait()
        return self.lane

    def run(self, _lane, source):
        self.source = source


class Stream:
    """Yields from where it was last sought, some of it fetched before; now and then it goes back by itself."""

    def __init__(self, offsets, start, dice):
        self.offsets, self.dice = offsets, dice
        self.at = start
        self.fetched = []
        self.saved = lambda: 0

    async def seek(self, _tp, position):
        self.at = position

    def next(self):
        if self.dice.random() < 0.02:
            self.at = max(0, self.saved() - self.dice.randrange(5))  # to what is committed, which is behind progress
        left = [offset for offset in self.offsets if offset >= self.at][: self.dice.randint(1, 4)]
        if left and len(self.fetched) < 6:
            self.fetched += left
            self.at = left[-1] + 1
        return self.fetched.pop(0) if self.fetched else None


@pytest.mark.parametrize("topic", ["records", "edges"])
@pytest.mark.parametrize("seed", range(40))
async def test_every_message_behind_progress_comes_once_and_in_order(topic, seed):
    dice = random.Random(seed)
    # In `records` offsets have holes, as markers and compaction leave them.
    offsets = [n for n in range(120) if topic == "edges" or dice.random() < 0.6]
    progress = dice.choice((0, 30, 31, 32, 60))
    opener = Opener(topic, progress)
    stream = Stream(offsets, dice.choice((0, progress, max(0, progress - 10), progress + 7)), dice)
    slot = Slot(opener, (topic, 0), None, stream.seek, None)
    stream.saved = lambda: max(progress, slot._next - 8)
    slot.start()
    got = []
    for turn in range(2_000):
        if turn == 5:
            opener.opened.set()
        await asyncio.sleep(0)
        offset = stream.next()
        if offset is not None:
            await slot.put(Message(offset + 1, None, b""))
        if opener.source is not None and slot._held:
            got += [message.offset - 1 for message in await slot.read(0.0, 50)]
        if offsets and got and got[-1] == offsets[-1]:
            break
    slot.close()

    assert got == [offset for offset in offsets if offset >= progress]


async def test_a_stream_that_begins_ahead_is_sought_back():
    opener = Opener("edges", 10)
    opener.opened.set()
    sought = []

    async def seek(_tp, position):
        sought.append(position)

    slot = Slot(opener, ("edges", 0), None, seek, None)
    slot.start()
    for _ in range(20):
        await asyncio.sleep(0)
    await slot.put(Message(16, None, b""))
    await slot.put(Message(17, None, b""))

    assert sought == [10, 10]
    assert not slot._held
    slot.close()
