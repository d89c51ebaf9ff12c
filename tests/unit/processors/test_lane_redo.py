"""What a worker had in hand when it died, redone in smaller batches: what it has left is ahead of the redo."""

from __future__ import annotations

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
from tests.support.fast_network import TIGHT
from tests.support.lane_rig import Killed, MemoryHops, Rig, Torn
from views import ALL, author_feed, follows_by_actor
from views.record import CHAT_DECLARATION, FOLLOW, POST, PROFILE

DID, OTHER, THIRD = (f"did:plc:{letter * 24}" for letter in "abc")
FIRST, SECOND, THIRD_KEY = (f"3jzfcijpj2z2{letter}" for letter in "abc")
CREATED = "2024-01-01T00:00:00Z"

FOLLOW_OTHER = {"$type": FOLLOW, "subject": OTHER, "createdAt": CREATED}
FOLLOW_THIRD = {"$type": FOLLOW, "subject": THIRD, "createdAt": CREATED}
POSTED = {"$type": POST, "text": "again", "createdAt": CREATED}
NAMED = {"$type": PROFILE, "displayName": "A name"}
CHATS = {"$type": CHAT_DECLARATION, "allowIncoming": "all"}

BEFORE = (FOLLOW, THIRD_KEY, FOLLOW_THIRD)
# Saved before; what was in hand; what comes after.
CASES = {
    "a first row that is taken back": (
        [BEFORE],
        [(FOLLOW, FIRST, FOLLOW_OTHER), (FOLLOW, FIRST, None)],
        [(FOLLOW, SECOND, FOLLOW_OTHER)],
    ),
    "a count, by a lane that began with nothing": (
        [],
        [(POST, FIRST, POSTED), (POST, FIRST, None), (POST, FIRST, POSTED)],
        [],
    ),
    "a merged row": (
        [BEFORE],
        [(PROFILE, "self", NAMED), (PROFILE, "self", None)],
        [(CHAT_DECLARATION, "self", CHATS)],
    ),
}
# What was in hand touched no row of the second record, as the first was there; alone the second has one.
SECOND_OF_TWO = [
    (FOLLOW, FIRST, FOLLOW_OTHER),
    (FOLLOW, SECOND, {**FOLLOW_OTHER, "createdAt": "2024-01-02T00:00:00Z"}),
]
TAKEN_BACK = [(FOLLOW, SECOND, None), (FOLLOW, FIRST, None)]


def _log(changes) -> list[Message]:
    """One entry a change, each its own time; who made a key since its last delete is known."""
    messages, made = [], {}
    for n, (collection, rkey, value) in enumerate(changes, 1):
        time = 1_710_000_000_000_000 + n
        key = (collection, rkey)
        first = made.setdefault(key, time)
        if value is None:
            del made[key]
        data = None if value is None else encode(value)
        cid = None if data is None else Cid.of_cbor(data)
        entry = RecordEntry(DID, collection, rkey, cid, data, Tid("3jzfcijpj2z2a"), first, time, n, n)
        messages.append(Message(n, *records_codec.encode(entry)))
    return messages


async def _rig(path, messages) -> Rig:
    rig = Rig(Torn(path), MemoryHops(random.Random(0)), 1, TIGHT, random.Random(0))
    rig.records[0] = messages
    return rig


@pytest.mark.parametrize("case", CASES)
async def test_what_is_redone_one_by_one_comes_to_the_rows_of_what_was_never_torn(tmp_path, case):
    saved, in_hand, after = CASES[case]
    messages = _log([*saved, *in_hand, *after])
    straight, torn = await _rig(tmp_path / "straight", messages), await _rig(tmp_path / "torn", messages)
    await straight.settle(1)
    lane = await torn.lane(RECORDS, 0)
    if saved:
        await torn.step(lane, len(saved))
    torn.store.tear = 3  # all but the progress
    with pytest.raises(Killed):
        await torn.step(lane, len(in_hand))
    torn.kill(RECORDS, 0)
    torn.store.reached.clear()  # a predecessor that says nothing of what it has in hand

    await torn.settle(1)

    await _are_alike(torn, straight)


@pytest.mark.parametrize("tear", range(4))
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("restless", [False, True])
async def test_what_was_in_hand_is_redone_as_one_batch_however_it_comes(tmp_path, tear, size, restless):
    """`restless`: whoever redoes it dies after each batch."""
    messages = _log([BEFORE, *SECOND_OF_TWO, *TAKEN_BACK, (POST, FIRST, POSTED)])
    straight, torn = await _rig(tmp_path / "straight", messages), await _rig(tmp_path / "torn", messages)
    await straight.settle(1)
    lane = await torn.lane(RECORDS, 0)
    await torn.step(lane, 1)
    torn.store.tear = tear
    with pytest.raises(Killed):
        await torn.step(lane, 4)
    torn.kill(RECORDS, 0)

    for _ in messages:
        await torn.step(await torn.lane(RECORDS, 0), size)
        if restless:
            torn.kill(RECORDS, 0)
    await torn.settle(size)

    await _are_alike(torn, straight)


async def _are_alike(torn: Rig, straight: Rig) -> None:
    for table, partition in ((author_feed.TABLE, (DID, 0)), (follows_by_actor.TABLE, (DID,))):
        (expected,), (found,) = [await rig.store.statics(table, [partition]) for rig in (straight, torn)]
        assert (found and found[0]) == (expected and expected[0]), table.name
    assert digests(torn.store, ALL) == digests(straight.store, ALL)
    for rig in (straight, torn):
        await rig.store.close()
