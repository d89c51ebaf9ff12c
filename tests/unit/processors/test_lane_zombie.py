"""Owners of one shard that do not know of each other, interleaved at every read and write, leave no difference."""

from __future__ import annotations

import os
import random

import pytest

from processors.digest import digests
from processors.lanes.stages import Message
from schemas import records_codec
from schemas.cbor import encode
from schemas.cid import Cid
from schemas.entries import RecordEntry
from schemas.tid import Tid
from schemas.topics import RECORDS
from schemas.tracing import NO_TRACES
from tests.support.fast_network import TIGHT
from tests.support.lane_rig import Killed, MemoryHops, Rig, Torn
from tests.support.owners import TurnedHops, TurnedStore, overlap
from views import ALL, author_feed, follows_by_actor, interactions
from views.record import BLOCK, CHAT_DECLARATION, FOLLOW, LIKE, POST, PROFILE

DIDS = [f"did:plc:{letter * 24}" for letter in "abc"]
KEYS = [f"3jzfcijpj2z2{letter}" for letter in "abc"]
CREATED = [f"2024-01-0{day}T00:00:00Z" for day in (1, 2, 3)]
SUBJECT = f"at://{DIDS[1]}/{POST}/{KEYS[0]}"
CID = str(Cid.of_cbor(b"a"))
SEEDS = int(os.environ.get("HEADRACE_ZOMBIES", "40"))
"""Each less than a second; run 1,500 of them by hand after a change of what lanes read."""


def _value(dice: random.Random, collection: str) -> dict:
    made = {"$type": collection, "createdAt": dice.choice(CREATED)}
    if collection in {FOLLOW, BLOCK}:
        return {**made, "subject": dice.choice(DIDS[1:])}
    if collection == LIKE:
        return {**made, "subject": {"uri": SUBJECT, "cid": CID}}
    if collection == PROFILE:
        return {"$type": PROFILE, "displayName": dice.choice(["A name", "Another"])}
    if collection == CHAT_DECLARATION:
        return {"$type": CHAT_DECLARATION, "allowIncoming": dice.choice(["all", "none"])}
    reply = {"reply": {"root": {"uri": SUBJECT, "cid": CID}, "parent": {"uri": SUBJECT, "cid": CID}}}
    return {**made, "text": "again", **(reply if dice.random() < 0.5 else {})}


def entries(dice: random.Random, number: int) -> list[Message]:
    """Of two accounts and few keys, so that much is made, changed and taken back within a batch."""
    messages: list[Message] = []
    made: dict[tuple[str, str, str], int] = {}
    for n in range(1, number + 1):
        collection = dice.choice((FOLLOW, FOLLOW, BLOCK, LIKE, LIKE, POST, POST, PROFILE, CHAT_DECLARATION))
        rkey = "self" if collection in {PROFILE, CHAT_DECLARATION} else dice.choice(KEYS)
        did = dice.choice((DIDS[0], DIDS[0], DIDS[2]))
        key, time = (did, collection, rkey), 1_710_000_000_000_000 + n
        gone = key in made and dice.random() < 0.6
        first = made.setdefault(key, time)
        if gone:
            del made[key]
        data = None if gone else encode(_value(dice, collection))
        cid = None if data is None else Cid.of_cbor(data)
        entry = RecordEntry(*key, cid, data, Tid(KEYS[0]), first, time, n, n)
        messages.append(Message(n, *records_codec.encode(entry)))
    return messages


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_owners_that_overlap_leave_what_one_alone_leaves(tmp_path, seed):
    dice = random.Random(seed)
    messages = entries(dice, dice.choice((8, 20)))
    straight = Rig(Torn(tmp_path / "straight"), MemoryHops(dice), 1, TIGHT, dice)
    rig = Rig(TurnedStore(tmp_path / "turned"), TurnedHops(dice), 1, TIGHT, dice)
    straight.records[0] = rig.records[0] = messages
    await straight.settle(dice.choice((1, 5)))

    turns = await overlap(rig, RECORDS, 0, owners=4, sizes=(1, 2, 3, 6))
    await rig.settle(dice.choice((1, 3, 500)))

    assert turns.taken > len(messages)
    assert turns.at_once or seed  # what is asked at once is interleaved, too
    assert digests(rig.store, ALL) == digests(straight.store, ALL), seed
    for table, partition in (
        *((author_feed.TABLE, (did, 0)) for did in DIDS),
        *((follows_by_actor.TABLE, (did,)) for did in DIDS),
        (interactions.TABLE, (SUBJECT,)),
    ):
        (expected,), (found,) = [await each.store.statics(table, [partition]) for each in (straight, rig)]
        assert [*(found or [])][:-1] == [*(expected or [])][:-1] or not any([*(found or [])][:-1] or [0]), table.name
    for each in (straight, rig):
        await each.store.close()


class Interrupted(TurnedHops):
    """`meanwhile` is what others do while the first who sends is held up."""

    meanwhile = None

    async def send(self, messages, traces=NO_TRACES) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        await super().send(messages, traces)


@pytest.mark.parametrize("taken_back", [False, True])
async def test_a_count_is_as_new_as_the_first_rows_that_decide_it(tmp_path, taken_back):
    """A zombie has written whom a follow counts for next, and not yet that the follow has changed."""
    follow = {"$type": FOLLOW, "createdAt": CREATED[0]}
    changes = [
        ("3jzfcijpj2z2z", {**follow, "subject": "did:plc:" + "z" * 24}),  # whoever takes the shard asks what is there
        (KEYS[0], {**follow, "subject": DIDS[1]}),
        (KEYS[0], None if taken_back else {**follow, "subject": DIDS[2]}),
        (KEYS[1], {**follow, "subject": DIDS[1]}),
        (KEYS[2], {**follow, "subject": DIDS[0]}),
    ]
    messages = []
    for n, (rkey, value) in enumerate(changes, 1):
        data = None if value is None else encode(value)
        cid = None if data is None else Cid.of_cbor(data)
        time = 1_710_000_000_000_000 + n
        first = time - 1 if n == 3 else time
        entry = RecordEntry(DIDS[0], FOLLOW, rkey, cid, data, Tid(KEYS[0]), first, time, n, n)
        messages.append(Message(n, *records_codec.encode(entry)))
    dice = random.Random(0)
    straight = Rig(Torn(tmp_path / "straight"), MemoryHops(dice), 1, TIGHT, dice)
    hops = Interrupted(dice)
    rig = Rig(Torn(tmp_path / "torn"), hops, 1, TIGHT, dice)
    straight.records[0] = rig.records[0] = messages
    await straight.settle(1)
    await rig.step(await rig.lane(RECORDS, 0), 1)
    rig.kill(RECORDS, 0)
    zombie, owner = await rig.new(RECORDS, 0), await rig.lane(RECORDS, 0)

    async def one_entry() -> None:
        await rig.step(owner, 1)
        rig.store.tear = 2  # all but the before-images

    hops.meanwhile = one_entry
    with pytest.raises(Killed):
        await rig.step(zombie, 2)
    await rig.settle(1)

    counts = [await each.store.statics(follows_by_actor.TABLE, [(DIDS[0],)]) for each in (straight, rig)]
    assert counts[1] == counts[0]
    assert digests(rig.store, ALL) == digests(straight.store, ALL)
    for each in (straight, rig):
        await each.store.close()
