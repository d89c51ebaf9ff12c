"""What a relay appended and derive has not judged: what it lies over, when it goes, what it says of a refusal."""

from __future__ import annotations

import asyncio

from ingest.log import Head
from ingest.log_kafka.relay.undecided import Undecided, is_below
from schemas.syntax import Did
from schemas.tid import tid_from_micros

ALICE, BOB = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), Did("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")


def head(did: Did, at: int, **more: bool) -> Head:
    return Head(did, tid_from_micros(1_760_000_000_000_000 + at, 0), **more)


def test_a_head_lies_over_the_derived_one_until_derive_has_come_to_its_newest_entry() -> None:
    undecided = Undecided(2)
    undecided.put(0, 5, ALICE, head(ALICE, 1))
    undecided.put(0, 9, ALICE, head(ALICE, 2))

    first = undecided.decide(0, 8, {ALICE: head(ALICE, 1)}.get)
    between = (ALICE in undecided, undecided.head(ALICE), undecided.count)
    second = undecided.decide(0, 9, {ALICE: head(ALICE, 2)}.get)

    assert (first, second) == ([], [])
    assert between == (True, head(ALICE, 2), 1)
    assert ALICE not in undecided
    assert undecided.count == 0


def test_what_was_built_on_a_refused_entry_goes_with_it_and_is_told_once() -> None:
    undecided = Undecided(1)
    for offset in (5, 6, 7):
        undecided.put(0, offset, ALICE, head(ALICE, offset))
    undecided.put(0, 8, BOB, head(BOB, 8))
    derived = {ALICE: head(ALICE, 1), BOB: head(BOB, 8)}

    refused = undecided.decide(0, 5, derived.get)
    undecided.put(0, 9, ALICE, head(ALICE, 9))  # what mends it
    after = undecided.decide(0, 8, derived.get)
    mended = undecided.decide(0, 9, {ALICE: head(ALICE, 9)}.get)

    assert refused == [ALICE]
    assert (after, mended) == ([], [])
    assert undecided.count == 0
    assert ALICE not in undecided


def test_another_relays_word_for_the_same_is_no_refusal() -> None:
    assert not is_below(head(ALICE, 2), head(ALICE, 2))
    assert not is_below(head(ALICE, 3), head(ALICE, 2))
    assert not is_below(None, Head(ALICE))
    assert is_below(None, head(ALICE, 1))
    assert is_below(Head(ALICE), head(ALICE, 1))
    assert is_below(head(ALICE, 1), head(ALICE, 2))
    # A diff that was to make an account whole, and did not.
    assert is_below(head(ALICE, 2, partial=True), head(ALICE, 2))
    assert not is_below(head(ALICE, 2, partial=True), head(ALICE, 2, partial=True))


def test_who_was_to_be_whole_and_stays_partial_above_that_is_told_once_nothing_more_is_under_way() -> None:
    """Another relay's commit came before the diff, whose base it moved; it may be long before the account says more."""
    undecided = Undecided(1)
    partial = {ALICE: head(ALICE, 2, partial=True)}.get
    undecided.put(0, 5, ALICE, head(ALICE, 1))
    undecided.put(0, 6, ALICE, head(ALICE, 2, partial=True))  # a #sync of ours: it is known to be partial

    said = undecided.decide(0, 6, partial)
    undecided.put(0, 7, ALICE, head(ALICE, 1))
    refused = undecided.decide(0, 7, partial)

    assert (said, refused) == ([], [ALICE])
    assert ALICE not in undecided


async def test_who_waits_for_room_or_for_an_account_goes_on_when_derive_has_come_by() -> None:
    undecided = Undecided(1, most=2)
    await undecided.room()
    undecided.put(0, 1, ALICE, head(ALICE, 1))
    undecided.put(0, 2, BOB, head(BOB, 1))
    room, settled = asyncio.ensure_future(undecided.room()), asyncio.ensure_future(undecided.settled(BOB))
    for _ in range(3):
        await asyncio.sleep(0)
    waiting = (room.done(), settled.done())

    undecided.decide(0, 1, {ALICE: head(ALICE, 1)}.get)
    await room
    assert not settled.done()
    undecided.decide(0, 2, {BOB: head(BOB, 1)}.get)
    await settled

    assert waiting == (False, False)
    await undecided.settled(ALICE)
