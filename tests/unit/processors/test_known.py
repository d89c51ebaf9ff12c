"""What a lane knows without asking, and when it asks all the same."""

from __future__ import annotations

import random

import msgspec
import pytest

from processors.lanes import known as known_of_lanes
from processors.lanes.before import read_before
from processors.lanes.known import Filter, Known
from schemas.cid import Cid
from schemas.entries import RecordEntry
from schemas.tid import Tid
from views import actors, followers, interactions, likes_by_actor, recent_by_author, records
from views.overlay_versioned import VersionedOverlay

LIKES, COUNTS, ACTORS = likes_by_actor.TABLE, interactions.TABLE, actors.TABLE
RECENT, FOLLOWERS = recent_by_author.TABLE, followers.TABLE
FIRST = ("did:a", 0, "at://b")
DID, NSID = "did:plc:" + "a" * 24, "app.bsky.feed.like"


class Asked:
    """Holds some rows and statics, and writes down what it is asked."""

    def __init__(self, rows=()):
        self.rows = dict(rows)
        self.asked = []

    async def get_many(self, table, keys):
        self.asked += [(table, key) for key in keys]
        return [self.rows.get((table, key)) for key in keys]

    statics = get_many

    async def slice(self, table, partition, **_):
        raise AssertionError(f"{table.name} {partition}: a slice is nobody's question here")


def row_of(table, key):
    return (*key, *(0 for _ in range(len(table.all_columns) - len(key))))


async def test_what_was_read_or_written_is_not_asked_again():
    store = Asked({(COUNTS, ("s",)): (1, 0, 0, 0, 5)})
    known = Known(store, shards=1, empty=False)
    overlay = VersionedOverlay(known)
    await overlay.load_statics(COUNTS, [("s",), ("t",)])
    overlay.put_statics(COUNTS, ("s",), (2, 0, 0, 0, 6))
    overlay.put(ACTORS, row_of(ACTORS, ("did:a",)))
    assert await overlay.first(LIKES, FIRST) is None
    overlay.set_first(LIKES, FIRST, row_of(LIKES, (*FIRST, "k")))
    known.learn(overlay)
    del store.asked[:]

    later = VersionedOverlay(known)

    assert await later.statics(COUNTS, ("s",)) == (2, 0, 0, 0, 6)
    assert await later.statics(COUNTS, ("t",)) is None
    assert await later.get(ACTORS, ("did:a",)) == row_of(ACTORS, ("did:a",))
    assert await later.first(LIKES, FIRST) == row_of(LIKES, (*FIRST, "k"))
    assert store.asked == []


async def test_what_decides_how_a_post_is_sent_and_records_are_asked_for_each_time():
    """Two workers that overlap must decide alike: both by what is stored."""
    store = Asked()
    known = Known(store, shards=1, empty=True)
    key = (DID, NSID, "k")
    for _ in range(2):
        overlay = VersionedOverlay(known)
        await overlay.statics(RECENT, ("did:a",))
        await overlay.statics(FOLLOWERS, ("did:a", 0))
        await overlay.get(records.TABLE, key)
        known.learn(overlay)

    assert store.asked == [(RECENT, ("did:a",)), (FOLLOWERS, ("did:a", 0)), (records.TABLE, key)] * 2


async def test_a_lane_that_began_with_nothing_knows_what_is_not_there_and_what_it_has_put_out_of_mind(monkeypatch):
    monkeypatch.setattr(known_of_lanes, "_KEPT", 0)
    store = Asked()
    known = Known(store, shards=1, empty=True)
    subjects = [(f"s{n}",) for n in range(2_000)]
    for subject in subjects[:1_000]:
        overlay = VersionedOverlay(known)
        assert await overlay.statics(COUNTS, subject) is None
        overlay.put_statics(COUNTS, subject, (1, 0, 0, 0, 1))
        known.learn(overlay)
    assert store.asked == []

    await VersionedOverlay(known).load_statics(COUNTS, subjects)

    asked = {key for _, key in store.asked}
    assert 256 <= len(asked & {*subjects[:1_000]}) < 1_000, "some are kept, the others were there"
    assert len(asked & {*subjects[1_000:]}) < 10


async def test_one_that_began_with_something_asks_for_what_it_has_not_seen():
    store = Asked({(COUNTS, ("s",)): (1, 0, 0, 0, 5)})

    found = await VersionedOverlay(Known(store, shards=1, empty=False)).statics(COUNTS, ("s",))

    assert found == (1, 0, 0, 0, 5)


async def test_in_doubt_a_batch_is_read_anew_and_what_it_found_is_known_after():
    store = Asked()
    known = Known(store, shards=1, empty=True)
    store.rows[COUNTS, ("s",)] = (9, 0, 0, 0, 900)
    known.doubt()
    overlay = VersionedOverlay(known)
    assert await overlay.statics(COUNTS, ("s",)) == (9, 0, 0, 0, 900)
    known.learn(overlay)
    del store.asked[:]

    assert await VersionedOverlay(known).statics(COUNTS, ("s",)) == (9, 0, 0, 0, 900)
    assert store.asked == []


def test_a_filter_holds_what_was_put_in_and_little_else_until_it_is_full():
    dice = random.Random(1)
    made = Filter(1 << 12)
    held = [dice.getrandbits(60) for _ in range(5_000)]
    for key in held:
        if not made.full:
            made.add(key)

    assert made.full
    kept = [key for key in held if key in made]
    assert kept[:4_000] == held[:4_000]
    assert sum(dice.getrandbits(60) in made for _ in range(10_000)) < 500


async def test_a_filter_that_is_full_is_asked_no_more():
    store = Asked()
    known = Known(store, shards=1 << 20, empty=True)
    size = 1 << 16
    overlay = VersionedOverlay(known)
    for n in range(size + size // 4):
        overlay.put_statics(COUNTS, (f"s{n}",), (1, 0, 0, 0, 1))
    known.learn(overlay)

    await VersionedOverlay(known).statics(COUNTS, ("elsewhere",))

    assert store.asked == [(COUNTS, ("elsewhere",))]


def entry(rkey="k", *, offset=50, time=100, first_time=100, value=b"\xa0"):
    cid = None if value is None else Cid.of_cbor(value)
    return RecordEntry(DID, NSID, rkey, cid, value, Tid("3jzfcijpj2z2a"), first_time, time, offset, offset)


def before(rkey, offset):
    return (DID, NSID, rkey, "cid", b"\xa0", "rev", 100, offset, "")


async def told(store, asked, seen, *, empty=False):
    """What was asked of the store, and whether there was doubt; every before-image is known after."""
    known = Known(store, shards=1, empty=empty)
    overlay = VersionedOverlay(known)
    await read_before(asked, seen, known, overlay)
    read = [key[2] for _, key in store.asked]
    del store.asked[:]
    for each, _ in asked:
        await overlay.get(records.TABLE, (each.did, each.collection, each.rkey))
    assert store.asked == []
    return read, known.doubtful


@pytest.mark.parametrize(
    ("seen", "entry", "read"),
    [
        (99, entry(), False),
        (100, entry(), True),  # one of the same time may have come before
        (None, entry(), True),  # an operator left something out
        (99, entry(first_time=70), True),
        (99, entry(value=None), True),
    ],
)
async def test_of_what_the_entry_itself_made_nothing_is_read(seen, entry, read):
    store = Asked({(records.TABLE, (DID, NSID, "k")): before("k", 40)})

    assert await told(store, [(entry, ())], seen) == (["k"] if read else [], False)


async def test_of_a_key_that_comes_twice_the_first_entry_decides():
    made, changed = entry(), entry(offset=51, time=101)
    later = msgspec.structs.replace(changed, first_time=100)

    assert await told(Asked(), [(made, ()), (later, ())], 99) == ([], False)


async def test_one_that_may_not_be_the_first_of_its_subject_is_read_unless_the_first_is_known():
    deciding = [(LIKES, FIRST)]

    assert await told(Asked(), [(entry(), deciding)], 99) == (["k"], False)
    assert await told(Asked(), [(entry(), deciding)], 99, empty=True) == ([], False)


@pytest.mark.parametrize(
    ("row", "late"),
    [(before("k", 50), entry()), (before("k", 70), entry(first_time=70)), (None, entry(value=None))],
)
async def test_where_somebody_was_here_already_everything_is_read(row, late):
    """Its own row or a later one's, or none where the log says that there was one."""
    store = Asked({(records.TABLE, (DID, NSID, "k")): row} if row else {})
    other = entry("other", offset=60, time=110, first_time=110)

    assert await told(store, [(late, ()), (other, ())], 105) == (["k", "other"], True)
