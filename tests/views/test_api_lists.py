"""Lists of accounts and posts around a subject."""

from __future__ import annotations

import pytest

from .appview import AppView
from .conftest import CID, did

A, B, C, D = did("a"), did("b"), did("c"), did("d")
LIKES, REPOSTS, QUOTES = "app.bsky.feed.getLikes", "app.bsky.feed.getRepostedBy", "app.bsky.feed.getQuotes"
FOLLOWS, FOLLOWERS = "app.bsky.graph.getFollows", "app.bsky.graph.getFollowers"
BLOCKS, RELATIONSHIPS = "app.bsky.graph.getBlocks", "app.bsky.graph.getRelationships"


@pytest.fixture
def appview(store):
    return AppView(store)


@pytest.fixture
def world(world):
    for who, handle in ((A, "alice.test"), (B, "bob.test"), (C, "carol.test"), (D, "dan.test")):
        world.account(who, handle)
    return world


def quote(uri):
    return {"embed": {"$type": "app.bsky.embed.record", "record": {"uri": uri, "cid": CID}}}


def dids(people):
    return [each["did"] for each in people]


async def test_likes_are_listed_newest_first_once_an_account(world, appview):
    uri = world.post(A, 1)
    for number, who in enumerate((B, C, D, B), 2):
        world.like(who, number, uri)
    await world.run()

    got = await appview.get(LIKES, A, uri=uri.replace(A, "alice.test"), cid=CID)

    assert dids(like["actor"] for like in got["likes"]) == [D, C, B]
    assert (got["uri"], got["cid"]) == (uri.replace(A, "alice.test"), CID)
    assert dids(like["actor"] for like in await appview.all_pages(LIKES, "likes", A, uri=uri, limit=1)) == [D, C, B]


async def test_reposts_and_quotes_are_listed(world, appview):
    uri = world.post(A, 1)
    for number, who in enumerate((B, C), 2):
        world.repost(who, number, uri)
    quotes = [world.post(who, number, **quote(uri)) for number, who in enumerate((C, D), 4)]
    await world.run()

    assert dids((await appview.get(REPOSTS, A, uri=uri))["repostedBy"]) == [C, B]
    assert dids(await appview.all_pages(REPOSTS, "repostedBy", uri=uri, limit=1)) == [C, B]
    found = await appview.all_pages(QUOTES, "posts", A, uri=uri, limit=1)
    assert [post["uri"] for post in found] == quotes[::-1]
    assert found[0]["embed"]["record"]["uri"] == uri


async def test_who_may_not_be_seen_is_in_no_list(world, appview):
    """Blocked by the viewer, blocking the subject, or not active; counts stay."""
    uri = world.post(A, 1)
    for number, who in enumerate((B, C, D), 2):
        world.like(who, number, uri)
        world.repost(who, number, uri)
        world.post(who, number, **quote(uri))
        world.follow(who, number, A)
        world.follow(A, number, who)
    world.block(C, 9, A)
    world.account(D, "dan.test", "suspended")
    await world.run()

    for nsid, member, query in (
        (LIKES, "likes", {"uri": uri}),
        (REPOSTS, "repostedBy", {"uri": uri}),
        (QUOTES, "posts", {"uri": uri}),
        (FOLLOWS, "follows", {"actor": A}),
        (FOLLOWERS, "followers", {"actor": A}),
    ):
        (only,) = (await appview.get(nsid, **query))[member]
        assert (only.get("actor") or only.get("author") or only)["did"] == B
        assert (await appview.get(nsid, B, **query))[member] != []

    world.block(B, 10, did("e"))
    world.block(did("e"), 11, B)
    await world.run()
    assert (await appview.get(LIKES, did("e"), uri=uri))["likes"] == []
    (post,) = (await appview.get("app.bsky.feed.getPosts", uris=uri))["posts"]
    assert (post["likeCount"], post["repostCount"], post["quoteCount"]) == (3, 3, 3)


async def test_records_taken_down_list_nobody(world, appview):
    uri = world.post(A, 1)
    world.takedown(world.like(B, 2, uri))
    world.takedown(world.follow(B, 3, A))
    await world.run()

    assert (await appview.get(LIKES, uri=uri))["likes"] == []
    assert (await appview.get(FOLLOWERS, actor=A))["followers"] == []
    assert (await appview.get(FOLLOWS, actor=B))["follows"] == []


async def test_follows_and_followers_are_listed_newest_first(world, appview):
    people = [did(f"p{c}") for c in "abcdefghij"]
    for number, who in enumerate(people):
        world.account(who, f"{who[8:10]}.test")
        world.follow(who, number, A, number // 3)
        world.follow(A, number, who, number // 3)
    await world.run()

    for nsid, member in ((FOLLOWS, "follows"), (FOLLOWERS, "followers")):
        whole = await appview.get(nsid, B, actor="alice.test")
        assert whole["subject"]["did"] == A
        assert len(whole[member]) == len(people)
        assert "cursor" not in whole
        for limit in (1, 3, 10):
            assert await appview.all_pages(nsid, member, B, actor=A, limit=limit) == whole[member]


async def test_lists_of_who_is_not_there_are_refused(world, appview):
    world.account(B, "bob.test", "takendown")
    await world.run()

    for nsid in (FOLLOWS, FOLLOWERS):
        for actor in ("nobody.test", did("x"), B):
            assert await appview.refusal(nsid, actor=actor) == (400, "InvalidRequest", f"Actor not found: {actor}")


async def test_one_s_own_blocks_are_listed(world, appview):
    for number, who in enumerate((B, C, D)):
        uri = world.block(A, number, who)
    world.block(A, 9, B)
    world.account(C, "carol.test", "deactivated")
    await world.run()

    blocks = await appview.all_pages(BLOCKS, "blocks", A, limit=1)

    assert dids(blocks) == [D, B]
    assert blocks[0]["viewer"]["blocking"] == uri
    assert (await appview.get(BLOCKS, B))["blocks"] == []


async def test_relationships_go_both_ways(world, appview):
    follow, back = world.follow(A, 1, B), world.follow(B, 2, A)
    block, blocked = world.block(A, 3, C), world.block(D, 4, A)
    await world.run()

    got = await appview.get(RELATIONSHIPS, actor="alice.test", others=[B, "carol.test", D, A, "nobody.test"])
    by = {each.get("did"): each for each in got["relationships"]}

    assert got["actor"] == A
    assert (by[B]["following"], by[B]["followedBy"]) == (follow, back)
    assert by[C]["blocking"] == block
    assert by[D]["blockedBy"] == blocked
    assert set(by[A]) == {"$type", "did"}
    assert by[None] == {"$type": "app.bsky.graph.defs#notFoundActor", "actor": "nobody.test", "notFound": True}


async def test_nobody_stands_to_an_unknown_handle(world, appview):
    await world.run()

    got = await appview.get(RELATIONSHIPS, actor="nobody.test", others=[A])

    assert [each["notFound"] for each in got["relationships"]] == [True]
