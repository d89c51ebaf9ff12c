"""app.bsky.actor: accounts as others see them."""

from __future__ import annotations

import pytest

from schemas.cid import Cid

from .appview import IMAGES, AppView
from .conftest import did

PROFILE = "app.bsky.actor.getProfile"
PROFILES = "app.bsky.actor.getProfiles"
A, B, C = did("a"), did("b"), did("c")
IMAGE = {"$type": "blob", "ref": Cid.of_raw(b"image"), "mimeType": "image/png", "size": 5}


@pytest.fixture
def appview(store):
    return AppView(store)


async def test_a_profile_says_who_it_is_its_counts_and_how_it_stands_to_the_viewer(world, appview):
    world.account(A, "alice.test")
    world.profile(A, displayName="Alice", description="It's me", avatar=IMAGE, banner=IMAGE)
    world.account(B, "bob.test")
    follow, back = world.follow(B, 1, A), world.follow(A, 2, B)
    world.post(A, 3)
    await world.run()

    got = await appview.get(PROFILE, B, actor="alice.test")

    assert (got["did"], got["handle"], got["displayName"], got["description"]) == (A, "alice.test", "Alice", "It's me")
    assert got["avatar"] == f"{IMAGES}/img/avatar/plain/{A}/{IMAGE['ref']}"
    assert got["banner"] == f"{IMAGES}/img/banner/plain/{A}/{IMAGE['ref']}"
    assert (got["followersCount"], got["followsCount"], got["postsCount"]) == (1, 1, 1)
    assert got["viewer"] == {
        "muted": False,
        "mutedOnlyReposts": False,
        "mutedOnlyQuoteposts": False,
        "blockedBy": False,
        "following": follow,
        "followedBy": back,
    }
    assert got["associated"] == {
        "lists": 0,
        "feedgens": 0,
        "starterPacks": 0,
        "labeler": False,
        "activitySubscription": {"allowSubscriptions": "followers"},
    }
    assert got["labels"] == []
    assert got == await appview.get(PROFILE, B, actor=A)


async def test_nobody_in_particular_has_no_viewer_state(world, appview):
    world.account(A, "alice.test")
    await world.run()

    assert "viewer" not in await appview.get(PROFILE, actor=A)


async def test_an_account_without_a_profile_is_shown_bare(world, appview):
    world.account(A, "alice.test")
    await world.run()

    got = await appview.get(PROFILE, A, actor=A)

    assert {"displayName", "avatar", "createdAt", "description", "indexedAt"}.isdisjoint(got)
    assert (got["followersCount"], got["followsCount"], got["postsCount"]) == (0, 0, 0)


async def test_an_account_that_verified_no_handle_has_an_invalid_one(world, appview):
    world.account(A)
    await world.run()

    assert (await appview.get(PROFILE, actor=A))["handle"] == "handle.invalid"


async def test_an_account_known_by_its_repo_alone_is_shown(world, appview):
    world.head(A, "3jzfcijpj2z2a")
    await world.run()

    assert (await appview.get(PROFILE, actor=A))["handle"] == "handle.invalid"


async def test_who_is_not_known_is_not_found(world, appview):
    world.account(A, "alice.test")
    world.delete_account(A)
    await world.run()
    missing = (400, "InvalidRequest", "Profile not found")

    assert await appview.refusal(PROFILE, actor="nobody.test") == missing
    assert await appview.refusal(PROFILE, actor=B) == missing
    assert await appview.refusal(PROFILE, actor=A) == missing


@pytest.mark.parametrize(
    ("status", "name"),
    [("takendown", "AccountTakedown"), ("suspended", "AccountTakedown"), ("deactivated", "AccountDeactivated")],
)
async def test_an_account_that_may_not_be_shown_says_why(world, appview, status, name):
    world.account(A, "alice.test", status)
    world.account(B, "bob.test", "desynchronized")
    await world.run()

    assert (await appview.refusal(PROFILE, actor=A))[:2] == (400, name)
    assert [got["did"] for got in (await appview.get(PROFILES, actors=[A, B, C]))["profiles"]] == [B]


async def test_blocks_show_and_hide_follows(world, appview):
    for each, handle in ((A, "a.test"), (B, "b.test")):
        world.account(each, handle)
    world.follow(A, 1, B)
    world.follow(B, 2, A)
    block = world.block(A, 3, B)
    await world.run()

    blocker, blocked = await appview.get(PROFILE, A, actor=B), await appview.get(PROFILE, B, actor=A)

    assert blocker["viewer"]["blocking"] == block
    assert blocker["viewer"]["blockedBy"] is False
    assert blocked["viewer"]["blockedBy"] is True
    assert {"following", "followedBy", "blocking"}.isdisjoint(blocked["viewer"])
    assert (blocked["followersCount"], blocked["followsCount"]) == (1, 1)


async def test_nobody_follows_or_blocks_themselves(world, appview):
    world.account(A, "alice.test")
    world.follow(A, 1, A)
    world.block(A, 2, A)
    await world.run()

    assert {"following", "followedBy", "blocking"}.isdisjoint((await appview.get(PROFILE, A, actor=A))["viewer"])


async def test_a_profile_record_taken_down_leaves_the_account(world, appview):
    world.account(A, "alice.test")
    uri = world.profile(A, displayName="Rude", description="Rude", banner=IMAGE, avatar=IMAGE)
    world.takedown(uri)
    await world.run()

    got = await appview.get(PROFILE, actor=A)

    assert got["handle"] == "alice.test"
    assert {"displayName", "avatar", "banner", "description"}.isdisjoint(got)


async def test_a_handle_is_whose_verification_is_newest(world, appview):
    world.account(A, "name.test")
    world.account(B, "name.test")
    await world.run()

    assert (await appview.get(PROFILE, actor="Name.test"))["did"] == B


async def test_profiles_come_once_each_in_the_order_asked(world, appview):
    world.account(A, "alice.test")
    world.account(B, "bob.test")
    await world.run()

    got = await appview.get(PROFILES, actors=[B, "alice.test", "bob.test", "nobody.test"])

    assert [each["did"] for each in got["profiles"]] == [B, A]


async def test_what_a_profile_says_is_escaped(world, appview):
    text = 'quote " backslash \\ newline \n \x01 \U0001f600'
    world.account(A, "alice.test")
    world.profile(A, displayName=text, description=text)
    world.put(A, "chat.bsky.actor.declaration", "self", {"allowIncoming": 'no "one"'})
    world.put(A, "app.bsky.notification.declaration", "self", {"allowSubscriptions": "none"})
    await world.run()

    got = await appview.get(PROFILE, actor=A)

    assert (got["displayName"], got["description"]) == (text, text)
    assert got["associated"]["chat"] == {"allowIncoming": 'no "one"'}
    assert got["associated"]["activitySubscription"] == {"allowSubscriptions": "none"}


async def test_self_labels_come_with_the_account(world, appview):
    labels = {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "bot"}]}
    world.account(A, "alice.test")
    uri = world.profile(A, labels=labels)
    await world.run()

    (label,) = (await appview.get(PROFILE, actor=A))["labels"]

    assert (label["src"], label["uri"], label["val"]) == (A, uri, "bot")


async def test_typeahead_finds_handles_by_their_beginning_and_names_by_their_words(world, appview):
    for who, handle, name in ((A, "alice.test", "Ada Lovelace"), (B, "bob.test", "Alina B"), (C, "al-c.test", "")):
        world.account(who, handle)
        world.profile(who, displayName=name)
    await world.run()

    async def found(query, viewer=None, **more):
        answer = await appview.get("app.bsky.actor.searchActorsTypeahead", viewer, q=query, **more)
        return {each["did"] for each in answer["actors"]}

    assert await found("al") == {A, B, C}
    assert await found("@ALI") == {A, B}
    assert await found("al-c.te") == {C}
    assert await found("lovel") == {A}
    assert await found("ada love") == {A}
    assert await found("ada bob") == set()
    assert await found("alice.test") == {A}
    assert await found("") == await found("a") == set()
    assert len(await found("al", limit=1)) == 1

    world.account(A, "alice.test", "takendown")
    world.block(B, 1, C)
    await world.run()

    assert await found("al", B) == {B}
