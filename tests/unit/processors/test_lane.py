"""One lane: in which order it sends, writes and saves, what it leaves out, and how its loop ends."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from processors.decode import Decoder
from processors.digest import digests
from processors.lanes import hop_codec
from processors.lanes.hops_kafka import SendFailedError
from processors.lanes.lane import Lane
from processors.lanes.loop import LaneLoop
from processors.lanes.shards import Lanes
from processors.lanes.stages import Message
from schemas import records_codec
from schemas.entries import RecordEntry
from schemas.topics import EDGES, FANOUT, RECORDS
from schemas.tracing import NO_TRACES
from tests.support.fast_network import TIGHT, FastNetwork, dids
from tests.support.lane_rig import CATALOGUE, PLAN, MemoryHops, Rig, Torn
from tests.support.random_network import RandomNetwork
from views import ALL
from views.store import Progress
from views.view import Edge

SHARDS = 2
SHARD = 1  # has accounts, and so has the other


class Said:
    """Hops and store that write down what they were told, in one order."""

    def __init__(self, store):
        self._store = store
        self.events = []
        self.sent = []
        self.traces = {}
        self.fails = False
        self.get_many, self.slice, self.statics = store.get_many, store.slice, store.statics
        self.progress_of = store.progress_of

    async def send(self, messages, traces=NO_TRACES):
        if self.fails:
            raise SendFailedError("not acknowledged")
        self.traces |= {hop_codec.decode(value).src: traces[at] for *_, value, at in messages if at in traces}
        decoded = [hop_codec.decode(value) for _, _, value, _ in messages]
        self.sent += [thing for thing in decoded if isinstance(thing, Edge)]
        self.events.append(("sent", *sorted({type(thing).__name__ for thing in decoded})))

    async def reach(self, topic, shard, offset):
        await self._store.reach(topic, shard, offset)
        self.events.append(("reaches", offset))

    async def apply(self, batch):
        await self._store.apply(batch)
        self.events.append(("saved", *batch.vector.values()))


@pytest.fixture
async def rig(tmp_path):
    (tmp_path / "network").mkdir()
    network = await FastNetwork(tmp_path / "network", dids(8), SHARDS).open()
    await network.begin()
    for step in RandomNetwork(random.Random(3), network.dids, network.now).steps(80):
        await network.do(step)
    made = Rig(Torn(tmp_path / "lanes.sqlite"), MemoryHops(random.Random(0)), SHARDS, TIGHT, random.Random(0))
    await made.read(network.log)
    assert all(len(records) >= 30 for records in made.records)
    yield made
    await made.store.close()
    await network.close()


async def lane_of(topic, said):
    lane = Lane(
        topic,
        SHARD,
        shards=SHARDS,
        plan=PLAN,
        decoder=Decoder(CATALOGUE, PLAN.collections),
        store=said,
        hops=said,
        settings=TIGHT,
    )
    await lane.open()
    return lane


async def test_a_batch_is_sent_then_saved_and_told_only_then(rig):
    said = Said(rig.store)
    lane = await lane_of(RECORDS, said)
    messages = rig.records[SHARD][:30]
    lane._told_at = float("-inf")

    await lane.take(messages)

    end = messages[-1].offset
    assert said.events == [("sent", "Edge"), ("reaches", end), ("saved", end), ("sent", "Watermark")]
    assert lane.offset == end


async def test_what_was_saved_before_is_left_out(rig):
    said = Said(rig.store)
    lane = await lane_of(RECORDS, said)
    await lane.take(rig.records[SHARD][:20])
    del said.events[:]

    await lane.take(rig.records[SHARD][:20])
    await lane.take(rig.records[SHARD][10:25])

    assert [event for event in said.events if event[0] == "saved"] == [("saved", rig.records[SHARD][24].offset)]
    assert (lane.repeated, lane.entries) == (30, 25)


@pytest.mark.parametrize("topic", [RECORDS, EDGES])
async def test_nothing_is_saved_of_a_batch_whose_messages_were_not_acknowledged(rig, topic):
    if topic == EDGES:
        for shard in range(SHARDS):
            await rig.step(await rig.lane(RECORDS, shard), 500)
    said = Said(rig.store)
    lane = await lane_of(topic, said)
    said.fails = True

    with pytest.raises(SendFailedError):
        await lane.take(rig.waiting(topic, SHARD, 0))

    assert {event[0] for event in said.events} <= {"reaches"}  # how far it goes may be said: whoever comes redoes that
    assert not (await rig.store.progress_of(topic, SHARD)).vector


class Source:
    """Gives what it has, then waits."""

    def __init__(self, messages):
        self.messages = list(messages)

    async def read(self, seconds, limit):
        found, self.messages = self.messages[:limit], self.messages[limit:]
        if not found:
            await asyncio.sleep(seconds)
        return found

    async def position(self):
        return 0


async def test_a_loop_that_is_closed_ends_after_the_batch_in_hand(rig):
    said = Said(rig.store)
    reached, go_on = asyncio.Event(), asyncio.Event()
    apply = said.apply

    async def slowly(batch):
        reached.set()
        await go_on.wait()
        await apply(batch)

    said.apply = slowly
    lane = await lane_of(RECORDS, said)
    loop = LaneLoop(lane, Source(rig.records[SHARD][:30]))
    loop.start()
    await reached.wait()
    closing = asyncio.ensure_future(loop.close(30))
    await asyncio.sleep(0)
    go_on.set()

    assert await closing
    assert lane.offset == rig.records[SHARD][29].offset
    assert lane.busy > 0


async def test_what_is_sent_on_has_the_trace_of_what_it_follows_from(rig):
    said, messages = Said(rig.store), rig.records[SHARD][:60]
    lane = await lane_of(RECORDS, said)
    traces = {message.offset: str(message.offset).encode() for message in messages[::2]}

    await lane.take(messages, traces)

    of_traced = {edge.src: traces[edge.src[2]] for edge in said.sent if edge.src[2] in traces}
    assert said.traces == of_traced
    assert 0 < len(of_traced) < len(said.sent)


async def test_what_a_predecessor_had_in_hand_is_held_back_until_all_of_it_is_there(rig):
    said, messages = Said(rig.store), rig.records[SHARD][:6]
    await rig.store.reach(RECORDS, SHARD, messages[4].offset)
    lane = await lane_of(RECORDS, said)

    for message in messages[:4]:
        await lane.take([message])
        await lane.take([message])
    await lane.idle(messages[3].offset)

    assert (lane.offset, lane.given, lane.repeated, said.events) == (0, messages[3].offset, 4, [])
    await lane.take(messages[4:])
    assert ("saved", messages[5].offset) in said.events
    assert lane.given == lane.offset == messages[5].offset


async def test_what_is_held_back_is_taken_where_its_end_has_gone_from_the_log(rig):
    said, messages = Said(rig.store), rig.records[SHARD][:3]
    await rig.store.reach(RECORDS, SHARD, messages[2].offset)
    lane = await lane_of(RECORDS, said)
    await lane.take(messages[:2])

    await lane.idle(messages[2].offset)

    assert [event for event in said.events if event[0] == "saved"] == [
        ("saved", messages[1].offset),
        ("saved", messages[2].offset),
    ]


async def test_a_batch_of_one_says_nothing_of_its_reach(rig):
    said = Said(rig.store)
    lane = await lane_of(RECORDS, said)

    await lane.take(rig.records[SHARD][:1])

    assert not rig.store.reached


async def test_when_one_lane_fails_no_other_takes_anything_more(rig):
    told = []
    lanes = Lanes(rig.store, rig.hops, ALL, shards=SHARDS, settings=TIGHT, on_failure=told.append)
    opened = [await lanes.open(RECORDS, shard) for shard in range(SHARDS)]
    for lane in opened:
        lanes.run(lane, Source(rig.records[lane.shard]))
    failure = RuntimeError("a lane's")

    lanes.fail(failure, topic=FANOUT)
    async with asyncio.timeout(30):
        await asyncio.gather(*(loop._task for loop in lanes._loops.values()))

    assert told == [failure]
    assert [lane.entries for lane in opened] == [0, 0]
    await lanes.close()


async def test_changes_whose_rows_are_there_are_done_though_progress_was_not_saved(rig):
    """Some keys were written twice in the batch: what an earlier entry said is not said again over a later one's."""
    made, changed = _made_and_changed(rig)
    messages = _dense(made + changed)
    first = Said(rig.store)
    lane = await lane_of(RECORDS, first)
    await lane.take(messages[: len(made)])
    begun = await rig.store.progress_of(RECORDS, SHARD)
    first.sent.clear()
    await lane.take(messages[len(made) :])
    said = Said(rig.store)
    said.progress_of = lambda *_: _saying(begun)

    await (await lane_of(RECORDS, said)).take(messages[len(made) :])

    assert first.sent
    assert said.sent == []
    assert said.events[-1] == ("saved", len(messages))


async def test_what_was_made_is_made_again_in_the_same_words(rig):
    """No row is read for it; what it says lies under the marks of whom it says it to."""
    made, _ = _made_and_changed(rig)
    first, said = Said(rig.store), Said(rig.store)
    await (await lane_of(RECORDS, first)).take(_dense(made))
    rows = digests(rig.store, ALL)
    said.progress_of = lambda *_: _saying(Progress({}, {}, {}))

    await (await lane_of(RECORDS, said)).take(_dense(made))

    assert first.sent
    assert said.sent == first.sent
    assert digests(rig.store, ALL) == rows


async def test_a_lane_that_was_overtaken_goes_on_where_the_other_is(rig):
    """A zombie would find first rows as they are now, and count what has been taken back since."""
    made, changed = _made_and_changed(rig)
    messages = _dense(made + changed)
    zombie, said = Said(rig.store), Said(rig.store)
    late, lane = await lane_of(RECORDS, zombie), await lane_of(RECORDS, said)
    await late.take(messages[: len(made)])
    await lane.take(messages)
    rows, _ = digests(rig.store, ALL), zombie.events.clear()

    await late.take(messages[len(made) : -1])

    assert [event for event in zombie.events if event != ("sent", "Watermark")] == []
    assert late.offset == len(messages)
    assert digests(rig.store, ALL) == rows


async def _saying(progress):
    return progress


def _made_and_changed(rig):
    """Of keys that are never deleted: what made them; and what changed some of them, then changed them back."""
    entries = [
        records_codec.decode(message.key, message.value, message.headers, message.offset)
        for message in rig.records[SHARD]
    ]
    entries = [entry for entry in entries if isinstance(entry, RecordEntry)]
    gone = {(entry.did, entry.collection, entry.rkey) for entry in entries if entry.value is None}
    kept = [entry for entry in entries if (entry.did, entry.collection, entry.rkey) not in gone]
    made = [entry for entry in kept if entry.first_time == entry.time]
    changed = [entry for entry in kept if entry.first_time < entry.time]
    assert changed
    keys = {(entry.did, entry.collection, entry.rkey) for entry in changed}
    back = [entry for entry in made if (entry.did, entry.collection, entry.rkey) in keys]
    later = max(entry.time for entry in kept) + 1
    return made, [*changed, *(msgspec.structs.replace(entry, time=later) for entry in back)]


def _dense(entries):
    """As if nothing had been between them."""
    made = []
    for n, entry in enumerate(entries, 1):
        key, value, headers = records_codec.encode(msgspec.structs.replace(entry, n=n))
        made.append(Message(n, key, value, headers, 0))
    return made
