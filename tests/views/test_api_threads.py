"""app.bsky.feed.getPostThread: a post among what it answers and what answers it."""

from __future__ import annotations

import pytest

from .appview import AppView
from .conftest import CID, did

THREAD = "app.bsky.feed.getPostThread"
A, B, C, D = did("a"), did("b"), did("c"), did("d")


def reply(root, parent=None):
    return {"reply": {"root": {"uri": root, "cid": CID}, "parent": {"uri": parent or root, "cid": CID}}}


@pytest.fixture
def appview(store):
    return AppView(store)


@pytest.fixture
def world(world):
    for who, handle in ((A, "alice.test"), (B, "bob.test"), (C, "carol.test"), (D, "dan.test")):
        world.account(who, handle)
    return world


def shape(view):
    """The URI, or for what is not shown its kind, with the shapes of replies."""
    if not view["$type"].endswith("threadViewPost"):
        return view["$type"].rsplit("#")[1]
    return view["post"]["uri"], [shape(each) for each in view.get("replies", ())]


def parents(view):
    found = []
    while (view := view.get("parent")) is not None:
        found.append(shape(view)[0] if view["$type"].endswith("threadViewPost") else shape(view))
    return found


async def test_a_thread_has_its_parents_and_replies_newest_first(world, appview):
    root = world.post(A, 1)
    middle = world.post(B, 2, **reply(root))
    old, new = world.post(C, 3, **reply(root, middle)), world.post(D, 4, **reply(root, middle))
    leaf = world.post(A, 5, **reply(root, old))
    world.post(C, 6, **reply(root))
    await world.run()

    thread = (await appview.get(THREAD, A, uri=middle))["thread"]

    assert shape(thread) == (middle, [(new, []), (old, [(leaf, [])])])
    assert parents(thread) == [root]
    assert "replies" not in thread["parent"]
    assert shape((await appview.get(THREAD, uri=middle.replace(B, "bob.test")))["thread"]) == shape(thread)


async def test_depth_and_height_bound_a_thread(world, appview):
    chain = [world.post(A, 1)]
    for number in range(2, 12):
        chain.append(world.post(B, number, **reply(chain[0], chain[-1])))
    await world.run()

    whole = (await appview.get(THREAD, uri=chain[5]))["thread"]
    none = (await appview.get(THREAD, uri=chain[5], depth=0, parentHeight=0))["thread"]
    one = (await appview.get(THREAD, uri=chain[5], depth=1, parentHeight=1))["thread"]

    assert parents(whole) == chain[4::-1]
    assert shape(whole)[1][0][0] == chain[6]
    assert {"replies", "parent"}.isdisjoint(none)
    assert parents(one) == [chain[4]]
    assert shape(one) == (chain[5], [(chain[6], [])])
    assert "replies" not in one["replies"][0]


async def test_a_leaf_within_the_depth_has_no_replies_and_says_so(world, appview):
    root = world.post(A, 1)
    world.post(B, 2, **reply(root))
    await world.run()

    thread = (await appview.get(THREAD, uri=root))["thread"]

    assert thread["replies"][0]["replies"] == []


async def test_a_post_that_is_not_there_is_not_found(world, appview):
    gone, down = world.post(A, 1), world.post(A, 2)
    hidden = world.post(B, 3)
    world.delete(gone)
    world.takedown(down)
    world.account(B, "bob.test", "takendown")
    await world.run()

    for uri in (gone, down, hidden, "at://nobody.test/app.bsky.feed.post/3jzfcijpj2z2a", f"at://{A}"):
        assert await appview.refusal(THREAD, A, uri=uri) == (400, "NotFound", f"Post not found: {uri}")


async def test_a_parent_that_is_gone_ends_the_way_up(world, appview):
    root = world.post(A, 1)
    middle = world.post(B, 2, **reply(root))
    leaf = world.post(C, 3, **reply(root, middle))
    world.delete(middle)
    await world.run()

    assert parents((await appview.get(THREAD, uri=leaf))["thread"]) == ["notFoundPost"]
    assert shape((await appview.get(THREAD, uri=root))["thread"]) == (root, [])


async def test_replies_that_may_not_be_shown_are_left_out(world, appview):
    root = world.post(A, 1)
    down, kept = world.post(B, 2, **reply(root)), world.post(C, 3, **reply(root))
    world.post(D, 4, **reply(root))
    world.post(C, 5, **reply(root, down))
    world.takedown(down)
    world.account(D, "dan.test", "deactivated")
    await world.run()

    assert shape((await appview.get(THREAD, A, uri=root))["thread"]) == (root, [(kept, [])])


@pytest.mark.parametrize("way", [(A, B), (B, A)])
async def test_a_block_with_the_viewer_leaves_a_mark(world, appview, way):
    root = world.post(B, 1)
    middle = world.post(C, 2, **reply(root))
    world.post(B, 3, **reply(root, middle))
    world.block(way[0], 4, way[1])
    await world.run()

    thread = (await appview.get(THREAD, A, uri=middle))["thread"]

    assert parents(thread) == ["blockedPost"]
    assert shape(thread) == (middle, ["blockedPost"])
    state = thread["parent"]["author"]["viewer"]
    assert state["blockedBy"] is (way == (B, A))
    assert ("blocking" in state) is (way == (A, B))
    assert shape((await appview.get(THREAD, A, uri=root))["thread"]) == "blockedPost"


async def test_a_block_between_others_parts_reply_and_parent(world, appview):
    root = world.post(A, 1)
    middle = world.post(B, 2, **reply(root))
    kept = world.post(D, 3, **reply(root, middle))
    apart = world.post(C, 4, **reply(root, middle))
    world.block(C, 5, B)
    await world.run()

    assert shape((await appview.get(THREAD, D, uri=root))["thread"]) == (root, [(middle, [(kept, [])])])
    assert parents((await appview.get(THREAD, D, uri=apart))["thread"]) == ["blockedPost"]


async def test_what_names_another_root_is_in_another_thread(world, appview):
    root, other = world.post(A, 1), world.post(A, 2)
    kept = world.post(B, 3, **reply(root))
    stray = world.post(C, 4, **reply(other, root))
    await world.run()

    assert shape((await appview.get(THREAD, uri=root))["thread"]) == (root, [(kept, [])])
    assert parents((await appview.get(THREAD, uri=stray))["thread"]) == []


async def test_the_root_s_author_s_likes_are_said(world, appview):
    root = world.post(A, 1)
    liked, other = world.post(B, 2, **reply(root)), world.post(C, 3, **reply(root))
    like = world.like(A, 4, liked)
    world.like(B, 5, other)
    await world.run()

    for viewer in (None, A, B):
        thread = (await appview.get(THREAD, viewer, uri=root))["thread"]
        contexts = {each["post"]["uri"]: each["threadContext"] for each in thread["replies"]}
        assert contexts == {liked: {"rootAuthorLike": like}, other: {}}


async def test_posts_that_answer_each_other_do_not_go_round(world, appview):
    first = world.post(A, 1)
    second = world.post(B, 2, **reply(first))
    third = world.post(B, 3, **reply(first, second))
    world.put(
        B,
        "app.bsky.feed.post",
        second.rsplit("/", 1)[1],
        {
            "text": "now under what it stands over",
            "createdAt": "2024-01-01T00:00:00Z",
            **reply(first, third),
        },
    )
    await world.run()

    thread = (await appview.get(THREAD, uri=second, depth=100, parentHeight=100))["thread"]

    assert thread["post"]["uri"] == second
    assert len(parents(thread)) <= 2


async def test_a_thread_of_many_replies_is_bounded_and_keeps_the_newest(world, appview):
    root = world.post(A, 1)
    replies = [world.post([B, C, D][number % 3], number, **reply(root)) for number in range(2, 1_300)]
    await world.run()

    thread = (await appview.get(THREAD, uri=root))["thread"]

    assert thread["post"]["replyCount"] == len(replies)
    assert [each["post"]["uri"] for each in thread["replies"]] == replies[:-501:-1]
