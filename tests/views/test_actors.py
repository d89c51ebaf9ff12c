"""Given this log, these rows of `actors`, `handles` and `actors_by_prefix`."""

from __future__ import annotations

import orjson

from schemas.cid import Cid
from views import actors, actors_by_prefix, handles
from views.record import CHAT_DECLARATION, NOTIFICATION_DECLARATION

from .conftest import did

BLOB = {"$type": "blob", "ref": Cid.of_raw(b"x"), "mimeType": "image/png", "size": 5}


def ready(row):
    names = [column.name for column in actors.TABLE.all_columns]
    return dict(zip(names, row, strict=True))


async def actor(world, who):
    (row,) = await world.rows(actors.TABLE, who)
    return ready(row)


async def test_fragments_make_a_profile_that_is_json(world):
    world.account(did("a"), "alice.test")
    world.profile(
        did("a"), displayName="Alice \x00 \\", description="d", avatar=BLOB, banner=BLOB, website="https://x.test"
    )
    await world.run()

    row = await actor(world, did("a"))
    text = b'{"did":"x"' + row["basic"] + row["more"] + row["detail"] + b"}"
    got = orjson.loads(text.replace(b"\x00", b"https://cdn.test"))

    assert got["displayName"] == "Alice \x00 \\"
    assert got["avatar"] == f"https://cdn.test/img/avatar/plain/{did('a')}/{BLOB['ref']}"
    assert got["banner"] == f"https://cdn.test/img/banner/plain/{did('a')}/{BLOB['ref']}"
    assert set(got) == {"did", "displayName", "avatar", "createdAt", "description", "indexedAt", "banner", "website"}


async def test_profile_and_account_come_in_any_order_and_go_apart(world):
    profile = world.profile(did("a"), displayName="Alice")
    world.account(did("a"), "alice.test", "deactivated")
    world.put(did("a"), CHAT_DECLARATION, "self", {"allowIncoming": "none"})
    world.put(did("a"), NOTIFICATION_DECLARATION, "self", {"allowSubscriptions": "mutuals"})
    await world.run()
    row = await actor(world, did("a"))
    assert (row["handle"], row["status"], row["display_name"]) == ("alice.test", "deactivated", "Alice")
    assert (row["chat"], row["subscriptions"]) == ("none", "mutuals")
    world.delete(profile)
    world.account(did("a"), "alice.test")
    await world.run()

    row = await actor(world, did("a"))

    assert (row["status"], row["display_name"], row["basic"], row["profile_cid"]) == ("active", "", b"", None)
    assert row["chat"] == "none"


async def test_a_handle_that_passes_to_another_account_is_theirs_whatever_the_order(world):
    """EXACTNESS 10: the row of one claimant never removes the other's."""
    world.account(did("a"), "name.test")
    world.account(did("b"), "name.test")
    world.account(did("a"), "other.test")
    await world.run()

    assert [row[1] for row in await world.rows(handles.TABLE, "name.test")] == [did("b")]
    assert [row[1] for row in await world.rows(handles.TABLE, "other.test")] == [did("a")]


async def test_typeahead_finds_by_handle_and_by_each_word_of_the_name(world):
    world.account(did("a"), "alice.test")
    world.profile(did("a"), displayName="Ångström Ｗide")
    await world.run()

    for prefix in ("al", "alic", "ån", "ångs", "wi", "wide"):
        assert [row[3] for row in await world.rows(actors_by_prefix.TABLE, prefix)] == [did("a")], prefix
    world.profile(did("a"), displayName="Bob")
    await world.run()
    assert await world.rows(actors_by_prefix.TABLE, "wide") == []
    assert [row[3] for row in await world.rows(actors_by_prefix.TABLE, "bob")] == [did("a")]


async def test_a_deleted_account_is_found_by_no_name(world):
    world.account(did("a"), "alice.test")
    world.profile(did("a"), displayName="Alice")
    await world.run()
    world.delete_account(did("a"))
    await world.run()

    assert await world.rows(handles.TABLE, "alice.test") == []
    assert await world.rows(actors_by_prefix.TABLE, "ali") == []
    assert (await actor(world, did("a")))["status"] == "deleted"
