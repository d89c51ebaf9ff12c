"""Given this log, these rows of `records`, `heads` and `restrictions`."""

from __future__ import annotations

from schemas.cbor import encode
from views import heads, posts, records, restrictions
from views.record import POST

from .conftest import did, rkey


async def test_an_unknown_collection_is_a_record_and_nothing_else(world):
    world.put(did("a"), "com.example.thing", "k", {"x": 1})
    await world.run()

    (row,) = await world.rows(records.TABLE, did("a"), "com.example.thing")

    assert row[2] == "k"
    assert row[-1] == ""
    assert row[4] == encode({"$type": "com.example.thing", "x": 1})


async def test_invalid_records_are_kept_counted_by_reason_and_project_to_no_rows(world):
    bad = [
        (POST, rkey(1), {"text": 7, "createdAt": "x"}),
        (POST, "no-tid-at-all", {"text": "t", "createdAt": "2024-01-01T00:00:00Z"}),
        (POST, rkey(2), encode([1, 2])),
        (POST, rkey(3), b"\xa1"),
        ("app.bsky.feed.getPosts", rkey(4), {}),
    ]
    uris = [world.put(did("a"), collection, key, value) for collection, key, value in bad]
    await world.run()

    rows = await world.rows(records.TABLE, did("a"), POST)

    assert len(rows) == 4
    assert all(row[-1] for row in rows)
    assert sum(world.decoder.invalid.values()) >= 4
    assert await world.store.get_many(posts.TABLE, [(uri,) for uri in uris]) == [None] * 5


async def test_an_update_from_valid_to_invalid_takes_the_rows_away(world):
    uri = world.post(did("a"), 1)
    await world.run()
    world.put(did("a"), POST, rkey(1), {"text": 7})
    await world.run()

    assert await world.store.get_many(posts.TABLE, [(uri,)]) == [None]
    world.post(did("a"), 1)
    await world.run()
    assert await world.store.get_many(posts.TABLE, [(uri,)]) != [None]


async def test_a_record_deleted_and_made_again_has_a_new_first_time(world):
    uri = world.post(did("a"), 1)
    world.delete(uri)
    world.post(did("a"), 1)
    await world.run()

    (row,) = await world.rows(records.TABLE, did("a"), POST)

    assert row[6] == world.live[did("a"), POST, rkey(1)]
    assert row[7] == 3


async def test_the_newest_rev_of_an_account_is_its_head(world):
    world.head(did("a"), rkey(1))
    world.head(did("a"), rkey(9))
    await world.run()

    assert (await world.rows(heads.TABLE, did("a")))[0][1] == rkey(9)


async def test_a_takedown_of_a_record_is_a_row_until_it_is_lifted(world):
    uri = world.post(did("a"), 1)
    world.takedown(uri)
    await world.run()
    assert [row[:3] for row in await world.rows(restrictions.TABLE, did("a"))] == [(did("a"), restrictions.TAKEN, uri)]
    world.takedown(uri, takedown=False)
    await world.run()

    assert await world.rows(restrictions.TABLE, did("a")) == []
    assert await world.store.get_many(posts.TABLE, [(uri,)]) != [None]
