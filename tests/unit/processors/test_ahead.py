"""What a batch asks at once, and which answer may not be older than which."""

from __future__ import annotations

import asyncio

import pytest

from processors.decode import Decoder
from processors.folding import Folder
from processors.lanes.ahead import read_ahead_of_edges, read_together
from processors.lanes.known import COUNTED_FIRSTS, Known
from processors.wanted import Wanted
from schemas.cbor import encode
from schemas.cid import Cid
from schemas.entries import RecordEntry
from schemas.tid import Tid
from tests.support.fast_network import TIGHT
from tests.support.lane_rig import CATALOGUE, PLAN
from views import followers, follows_by_actor, likes_by_actor, recent_by_author, records
from views.overlay_versioned import VersionedOverlay
from views.record import FOLLOW, LIKE, POST
from views.view import Edge

DID, OTHER, THIRD = (f"did:plc:{letter * 24}" for letter in "abc")
KEY = "3jzfcijpj2z2a"
MADE = {"createdAt": "2024-01-01T00:00:00Z"}
TIME = 1_710_000_000_000_000
BEGUN, ENDED = "begun", "ended"
RECORDS, FOLLOWS, RECENT = records.TABLE, follows_by_actor.TABLE, recent_by_author.TABLE


class Slow:
    """Answers a while after it was asked, and writes both down; `rows` are those of `records`."""

    def __init__(self, rows=()):
        self.rows = {row[:3]: row for row in rows}
        self.said = []

    async def _answered(self, table, what):
        self.said.append((BEGUN, table, what))
        for _ in range(5):
            await asyncio.sleep(0)
        self.said.append((ENDED, table, what))

    async def get_many(self, table, keys):
        await self._answered(table, "rows" if len(keys[0]) == table.key_size else "firsts")
        return [self.rows.get(key) if table is RECORDS else None for key in keys]

    async def statics(self, table, partitions):
        await self._answered(table, "statics")
        return [None for _ in partitions]

    async def slice(self, table, _partition, **_):
        await self._answered(table, "slice")
        return []

    def last(self, when, table, what):
        return max(place for place, said in enumerate(self.said) if said == (when, table, what))

    def first(self, when, table, what):
        return self.said.index((when, table, what))


def entry(collection, value, *, n=9, rkey=KEY, first=TIME - 1):
    data = encode({"$type": collection, **MADE, **value})
    return RecordEntry(DID, collection, rkey, Cid.of_cbor(data), data, Tid(KEY), first, TIME, n, n)


def stored(held, offset):
    return (DID, held.collection, held.rkey, str(held.cid), held.value, KEY, held.first_time, offset, "")


async def asked(store, *entries):
    decoder = Decoder(CATALOGUE, PLAN.collections)
    wanted = Wanted(PLAN, decoder)
    for each in entries:
        wanted.add(each, decoder.after(each)[0])
    known = Known(store, shards=1, empty=False)
    await read_together(wanted, None, known, VersionedOverlay(known))


async def test_no_table_waits_for_another():
    store = Slow()
    await asked(
        store,
        entry(LIKE, {"subject": {"uri": f"at://{OTHER}/{POST}/{KEY}", "cid": str(Cid.of_cbor(b"a"))}}, first=TIME),
        entry(POST, {"text": "at once"}, n=10, first=TIME),
        entry(FOLLOW, {"subject": OTHER}, n=11, first=TIME),
    )

    at_once = store.said[: [when for when, _, _ in store.said].index(ENDED)]
    assert len(at_once) >= 4
    assert {(RECORDS, "rows"), (FOLLOWS, "firsts"), (likes_by_actor.TABLE, "firsts")} <= {
        (table, what) for _, table, what in at_once
    }


@pytest.mark.parametrize("table", COUNTED_FIRSTS)
async def test_a_count_is_asked_for_when_all_first_rows_that_decide_it_have_come(table):
    changed = entry(FOLLOW, {"subject": THIRD})
    store = Slow([stored(entry(FOLLOW, {"subject": OTHER}), offset=3)])

    await asked(store, changed)

    assert store.said.count((BEGUN, table, "firsts")) == 2  # of whom it follows, and of whom it followed
    assert store.last(ENDED, table, "firsts") < store.first(BEGUN, table, "statics")
    assert store.last(ENDED, table, "firsts") < store.first(BEGUN, table, "slice")


async def test_where_somebody_is_ahead_all_is_asked_again_when_that_is_known():
    done = entry(FOLLOW, {"subject": OTHER})
    store = Slow([stored(done, offset=9)])

    await asked(store, done)

    assert store.first(ENDED, RECORDS, "rows") < store.last(BEGUN, FOLLOWS, "firsts")
    assert store.last(ENDED, FOLLOWS, "firsts") < store.first(BEGUN, FOLLOWS, "statics")


async def test_what_fills_a_timeline_is_asked_for_before_up_to_where_it_is_complete():
    store = Slow()
    overlay = VersionedOverlay(store)
    folder = Folder(PLAN, 0, 1, TIGHT, lambda _shard, _fan: None)
    folder.begin(overlay)
    row = (OTHER, 0, 5, DID, f"at://{DID}/{FOLLOW}/{KEY}")
    follow = Edge(("records", 0, 9, 0), followers.TABLE.name, OTHER, (), (row,), (OTHER, 0), ((0, 1),))

    await read_ahead_of_edges([follow], folder, overlay)

    assert store.last(ENDED, followers.TABLE, "statics") < store.first(BEGUN, RECENT, "slice")
    assert store.last(ENDED, RECENT, "slice") < store.first(BEGUN, RECENT, "statics")
    del store.said[:]
    await overlay.slice(RECENT, (OTHER,), TIGHT.backfill + 1)
    assert store.said == []
