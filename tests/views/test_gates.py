"""Thread gates and post gates: their rows, and what they do to threads, feeds, quotes and the viewer's state."""

from __future__ import annotations

import pytest

from views import posts, restrictions
from views.record import POSTGATE, THREADGATE
from views.restrictions import CLOSED, FOLLOWERS, FOLLOWING, MENTIONED

from .appview import REMOTE, AppView
from .conftest import CID, START, at, did

THREAD, POSTS, AUTHOR = "app.bsky.feed.getPostThread", "app.bsky.feed.getPosts", "app.bsky.feed.getAuthorFeed"
A, B, C, D = did("a"), did("b"), did("c"), did("d")


def reply(root, parent=None):
    return {"reply": {"root": {"uri": root, "cid": CID}, "parent": {"uri": parent or root, "cid": CID}}}


def quote(uri):
    return {"embed": {"$type": "app.bsky.embed.record", "record": {"uri": uri, "cid": CID}}}


def mention(*dids):
    index = {"byteStart": 0, "byteEnd": 1}
    return {
        "facets": [
            {"index": index, "features": [{"$type": "app.bsky.richtext.facet#mention", "did": each}]} for each in dids
        ]
    }


def rule(name, **fields):
    return {"$type": f"{THREADGATE}#{name}Rule", **fields}


@pytest.fixture
def appview(store):
    return AppView(store)


@pytest.fixture
def world(world):
    for who, handle in ((A, "alice.test"), (B, "bob.test"), (C, "carol.test"), (D, "dan.test")):
        world.account(who, handle)
    return world


def threadgate(world, post, second=0, **fields):
    owner, _, key = post[5:].split("/")
    return world.put(owner, THREADGATE, key, {"post": post, "createdAt": at(second), **fields})


def postgate(world, post, second=0, **fields):
    owner, _, key = post[5:].split("/")
    return world.put(owner, POSTGATE, key, {"post": post, "createdAt": at(second), **fields})


async def answers(appview, viewer, root):
    thread = (await appview.get(THREAD, viewer, uri=root))["thread"]
    return sorted(each["post"]["uri"] for each in thread["replies"])


async def state(appview, viewer, uri):
    return (await appview.get(POSTS, viewer, uris=[uri]))["posts"][0]["viewer"]


# --- rows ---


@pytest.mark.parametrize(
    ("fields", "bits"),
    [
        ({}, 0),
        ({"hiddenReplies": []}, 0),
        ({"allow": []}, CLOSED),
        ({"allow": [rule("mention")]}, CLOSED | MENTIONED),
        ({"allow": [rule("following"), rule("follower")]}, CLOSED | FOLLOWING | FOLLOWERS),
        ({"allow": [rule("list", list=f"at://{A}/app.bsky.graph.list/3kaaaaaaaaa2a")]}, CLOSED),
        ({"allow": [{"$type": "com.example.rule"}]}, CLOSED),
    ],
)
async def test_a_thread_gate_s_rules_are_bits(world, fields, bits):
    post = world.post(A, 1)
    gate = threadgate(world, post, 7, **fields)
    await world.run()

    ((_, kind, subject, uri, _, rules, _, since),) = await world.rows(restrictions.TABLE, A)

    assert (kind, subject, uri, rules) == (restrictions.THREAD, post, gate, bits)
    assert since == (await world.rows(posts.TABLE, post))[0][posts.TABLE.index("sort_at")] + 6_000_000


async def test_a_gate_elsewhere_than_at_its_own_post_makes_no_row(world):
    mine, theirs = world.post(A, 1), world.post(B, 2)
    world.put(A, THREADGATE, theirs.rsplit("/")[-1], {"post": theirs, "createdAt": at(3), "allow": []})
    world.put(A, THREADGATE, world.post(A, 3).rsplit("/")[-1], {"post": mine, "createdAt": at(3), "allow": []})
    world.put(A, POSTGATE, theirs.rsplit("/")[-1], {"post": theirs, "createdAt": at(3)})
    world.put(A, THREADGATE, "no-tid", {"post": mine, "createdAt": at(3), "allow": []})
    threadgate(world, mine, allow=["nobody"])
    await world.run()

    for who in (A, B):
        assert await world.rows(restrictions.TABLE, who) == []


async def test_a_gate_that_goes_leaves_no_row(world):
    post = world.post(A, 1)
    for gate in (threadgate(world, post, allow=[]), postgate(world, post)):
        await world.run()
        world.delete(gate)
    await world.run()

    assert await world.rows(restrictions.TABLE, A) == []


async def test_whom_a_post_mentions_is_said_once(world):
    tag = {"index": {"byteStart": 0, "byteEnd": 1}, "features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "x"}]}
    facets = [*mention(B, C, B)["facets"], tag]
    post = world.post(A, 1, facets=facets)
    await world.run()

    assert (await world.rows(posts.TABLE, post))[0][posts.TABLE.index("mentions")] == f"{B} {C}"


# --- threads ---


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("allow", "let_in"),
    [
        (None, "ABCD"),
        ([], "A"),
        ([rule("mention")], "AB"),
        ([rule("following")], "AC"),
        ([rule("follower")], "AD"),
        ([rule("mention"), rule("following"), rule("follower")], "ABCD"),
        ([rule("list", list=f"at://{A}/app.bsky.graph.list/3kaaaaaaaaa2a")], "A"),
    ],
)
async def test_who_may_answer_is_shown_and_told_so(world, appview, allow, let_in, late):
    """`late`: the log brings what the gate rests on after the answers; only the gate itself is before them."""
    root = world.post(A, 1) if late else world.post(A, 1, **mention(B))
    threadgate(world, root, **({} if allow is None else {"allow": allow}))
    if not late:
        world.follow(A, 2, C)
        world.follow(D, 3, A)
    said = {name: world.post(who, 4 + n, **reply(root)) for n, (name, who) in enumerate(PEOPLE.items())}
    if late:
        world.follow(A, 2, C)
        world.follow(D, 3, A)
        world.post(A, 1, **mention(B))
    await world.run()

    for viewer in (None, A, B, C, D):
        assert await answers(appview, viewer, root) == sorted(said[name] for name in let_in)
    for name, who in PEOPLE.items():
        assert (await state(appview, who, root))["replyDisabled"] is (name not in let_in)
        assert (await state(appview, who, said["A"]))["replyDisabled"] is (name not in let_in)


PEOPLE = {"A": A, "B": B, "C": C, "D": D}


async def test_a_follow_that_goes_closes_the_door(world, appview):
    root = world.post(A, 1)
    threadgate(world, root, allow=[rule("following")])
    follow = world.follow(A, 2, B)
    answer = world.post(B, 3, **reply(root))
    await world.run()
    before = await answers(appview, C, root)
    world.delete(follow)
    await world.run()

    assert (before, await answers(appview, C, root)) == ([answer], [])


async def test_without_a_gate_nothing_is_said(world, appview):
    root = world.post(A, 1)
    await world.run()

    assert "replyDisabled" not in await state(appview, B, root)
    assert "threadgate" not in (await appview.get(POSTS, uris=[root]))["posts"][0]


async def test_an_answer_that_was_there_before_the_gate_stays_whatever_its_date_says(world, appview):
    root = world.post(A, 1)
    before = world.post(B, 2, second=2, **reply(root))
    made = world.time
    threadgate(world, root, second=(made + 500_000 - START) / 1_000_000, allow=[])
    world.post(C, 3, second=-1_000, **reply(root))
    await world.run()

    assert await answers(appview, None, root) == [before]


async def test_a_gate_that_says_it_is_as_old_as_its_post_rules_over_all_answers(world, appview):
    root = world.post(A, 1)
    world.post(B, 2, **reply(root))
    threadgate(world, root, second=1, allow=[])
    await world.run()

    assert await answers(appview, None, root) == []


async def test_an_answer_that_violates_stands_alone(world, appview):
    root = world.post(A, 1)
    threadgate(world, root, allow=[])
    answer = world.post(B, 2, **reply(root))
    world.post(A, 3, **reply(root, answer))
    await world.run()

    thread = (await appview.get(THREAD, B, uri=answer))["thread"]
    (item,) = (await appview.get(AUTHOR, B, actor=B))["feed"]

    assert {"parent", "replies"}.isdisjoint(thread)
    assert thread["post"]["viewer"]["replyDisabled"] is True
    assert item["post"]["uri"] == answer
    assert "reply" not in item


async def test_the_gate_is_shown_with_the_root_alone(world, appview):
    root = world.post(A, 1)
    hidden = world.post(B, 2, **reply(root))
    gate = threadgate(world, root, hiddenReplies=[hidden])
    await world.run()

    thread = (await appview.get(THREAD, uri=root))["thread"]

    shown = thread["post"]["threadgate"]
    assert (shown["uri"], shown["lists"], shown["record"]["hiddenReplies"]) == (gate, [], [hidden])
    # Which replies its owner hides is the client's to show, as in the reference.
    (answer,) = thread["replies"]
    assert answer["post"]["uri"] == hidden
    assert "threadgate" not in answer["post"]


async def test_a_gate_that_is_taken_down_rules_nothing(world, appview):
    root, other = world.post(A, 1), world.post(B, 2)
    answer = world.post(B, 3, **reply(root))
    quoting = world.post(B, 4, **quote(root))
    world.takedown(threadgate(world, root, allow=[]))
    world.takedown(postgate(world, root, embeddingRules=[DISABLE], detachedEmbeddingUris=[quoting]))
    await world.run()

    (view, quoting_view, _) = (await appview.get(POSTS, C, uris=[root, quoting, other]))["posts"]

    assert await answers(appview, C, root) == [answer]
    assert "threadgate" not in view
    assert view["viewer"]["embeddingDisabled"] is False
    assert kind(quoting_view) == "viewRecord"


# --- quotes ---

DISABLE = {"$type": f"{POSTGATE}#disableRule"}


def kind(view):
    return view["embed"]["record"]["$type"].rsplit("#")[1]


async def test_who_may_quote_is_told_so(world, appview):
    open_, closed, other = world.post(A, 1), world.post(A, 2), world.post(A, 3)
    postgate(world, open_, embeddingRules=[])
    postgate(world, closed, embeddingRules=[DISABLE])
    await world.run()

    for viewer in (A, B):
        disabled = [
            post["viewer"]["embeddingDisabled"]
            for post in (await appview.get(POSTS, viewer, uris=[open_, closed, other]))["posts"]
        ]
        assert disabled == [False, viewer != A, False]


async def test_a_quote_that_the_gate_does_not_let_shows_nothing(world, appview):
    closed = world.post(A, 1)
    before = world.post(B, 2, **quote(closed))
    postgate(world, closed, second=(world.time + 500_000 - START) / 1_000_000, embeddingRules=[DISABLE])
    theirs, own = world.post(B, 3, second=-1_000, **quote(closed)), world.post(A, 4, **quote(closed))
    deeper = world.post(C, 5, **quote(theirs))
    await world.run()

    views = (await appview.get(POSTS, None, uris=[before, theirs, own, deeper]))["posts"]
    world.delete(closed)
    await world.run()
    gone = (await appview.get(POSTS, None, uris=[before, theirs, own]))["posts"]

    assert [*map(kind, views)] == ["viewRecord", "viewDetached", "viewRecord", "viewRecord"]
    assert views[3]["embed"]["record"]["embeds"][0]["record"]["$type"].endswith("#viewDetached")
    assert [*map(kind, gone)] == ["viewNotFound", "viewDetached", "viewNotFound"]


async def test_a_detached_quote_shows_nothing_of_what_it_quotes(world, appview):
    post = world.post(A, 1)
    detached, kept = world.post(B, 2, **quote(post)), world.post(B, 3, **quote(post))
    own = world.post(A, 4, **quote(post))
    postgate(world, post, detachedEmbeddingUris=[detached, own])
    await world.run()

    views = (await appview.get(POSTS, B, uris=[detached, kept, own]))["posts"]

    assert [*map(kind, views)] == ["viewDetached", "viewRecord", "viewDetached"]
    assert views[0]["embed"]["record"] == {
        "$type": "app.bsky.embed.record#viewDetached",
        "uri": post,
        "detached": True,
    }


async def test_a_block_hides_before_a_gate_does(world, appview):
    post = world.post(A, 1)
    quoting = world.post(B, 2, **quote(post))
    postgate(world, post, embeddingRules=[DISABLE], detachedEmbeddingUris=[quoting])
    world.block(A, 3, B)
    await world.run()

    (view,) = (await appview.get(POSTS, C, uris=[quoting]))["posts"]

    assert kind(view) == "viewBlocked"


async def test_gates_are_no_more_than_one_statement_a_gate(world, store):
    appview = AppView(store, in_time=REMOTE)
    root = world.post(A, 1, **mention(B))
    threadgate(world, root, allow=[rule("mention"), rule("following"), rule("follower")])
    people = [did(f"p{letter}") for letter in "abcdefghijklmnop"]
    for number, who in enumerate(people, 2):
        world.account(who, f"{who[8:10]}.test")
        said = world.post(who, number, **reply(root))
        postgate(world, said)
        world.follow(A, 100 + number, who)
    await world.run()

    found = await answers(appview, B, root)

    assert len(found) == len(people)
    assert appview.store.slices <= 4
    # Whom the root's author follows and who follows that one is in five partitions.
    assert appview.store.keys <= 25 + 10 + (2 + 1) * (len(found) + 1) + 3 * (len(people) + 1)
