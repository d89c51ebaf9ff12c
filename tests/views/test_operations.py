"""What an account sets in this AppView: rows of operations, and what mutes, bookmarks and muted threads show."""

from __future__ import annotations

import pytest

from api.appview import own
from api.appview.together import at_once
from schemas.operations import ONLY_QUOTES, ONLY_REPOSTS, THREAD_MUTE
from views import bookmarks_by_time, mutes_by_time, operations
from views.store_cached import CachedStore

from .appview import REMOTE, AppView
from .conftest import CID, did

A, B, C, D = did("a"), did("b"), did("c"), did("d")
TIMELINE, AUTHOR_FEED = "app.bsky.feed.getTimeline", "app.bsky.feed.getAuthorFeed"
MUTES, BOOKMARKS, POSTS = "app.bsky.graph.getMutes", "app.bsky.bookmark.getBookmarks", "app.bsky.feed.getPosts"


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


def uris(feed):
    return [(item["post"]["uri"], "reason" in item) for item in feed]


@pytest.mark.parametrize("size", [None, 1, 2])
async def test_of_a_key_that_is_set_again_one_row_is_left_in_each_table(world, size):
    world.mute(A, B)
    world.mute(A, C)
    world.mute(A, B)
    world.mute(A, D)
    world.mute(A, D, None)
    world.mute(B, A)
    await world.run(size)

    assert [row[2] for row in await world.rows(operations.TABLE, A)] == [B, C]
    newest, oldest = await world.rows(mutes_by_time.TABLE, A)
    assert (newest[2], oldest[2]) == (B, C)
    assert newest[1] > oldest[1]
    assert [row[2] for row in await world.rows(mutes_by_time.TABLE, B)] == [A]


async def test_a_mute_that_becomes_one_of_a_part_is_no_longer_listed(world, appview):
    world.mute(A, B)
    world.mute(A, C, bytes((ONLY_REPOSTS,)))
    await world.run()
    assert [each["did"] for each in (await appview.get(MUTES, A))["mutes"]] == [B]

    world.mute(A, B, bytes((ONLY_QUOTES,)))
    world.mute(A, C)
    await world.run()

    assert [each["did"] for each in (await appview.get(MUTES, A))["mutes"]] == [C]
    (row,) = await world.rows(mutes_by_time.TABLE, A)
    assert row[2] == C


async def test_an_entry_of_a_kind_that_is_not_known_is_kept_and_shows_nothing(world):
    world.operate(A, "draft", "x", b"value")
    await world.run()

    (row,) = await world.rows(operations.TABLE, A)
    assert row[2:4] == ("x", b"value")


async def test_an_entry_that_comes_again_after_a_later_one_changes_nothing(world):
    world.mute(A, B)
    world.mute(A, B, None)
    world.mute(A, B)
    await world.run()
    here = await world.rows(operations.TABLE, A), await world.rows(mutes_by_time.TABLE, A)

    world.stages._seen.clear()
    world.operated[0] = 0
    world.operations[0].pop()
    await world.run()

    assert (await world.rows(operations.TABLE, A), await world.rows(mutes_by_time.TABLE, A)) == here


async def test_mutes_are_listed_newest_first_page_by_page_and_by_their_owner_alone(world, appview):
    for subject in (C, B, D):
        world.mute(A, subject)
    world.account(D, "dan.test", "deactivated")
    await world.run()

    mutes = await appview.all_pages(MUTES, "mutes", A, limit=1)

    assert [each["did"] for each in mutes] == [B, C]
    assert all(each["viewer"]["muted"] for each in mutes)
    assert (await appview.get(MUTES, B))["mutes"] == []


async def test_a_mute_leaves_posts_and_reposts_out_of_the_timeline_and_nowhere_else(world, appview):
    by_b, by_c = world.post(B, 1), world.post(C, 2)
    answer = world.post(C, 3, reply={"root": {"uri": by_b, "cid": CID}, "parent": {"uri": by_b, "cid": CID}})
    world.repost(B, 4, by_c)
    world.repost(C, 5, by_b)
    for number, who in enumerate((B, C, D), 10):
        world.follow(A, number, who)
    await world.run()
    whole = [(by_b, True), (by_c, True), (answer, False), (by_c, False), (by_b, False)]
    assert uris((await appview.get(TIMELINE, A))["feed"]) == whole

    world.mute(A, B)
    await world.run()

    assert uris((await appview.get(TIMELINE, A))["feed"]) == [(answer, False), (by_c, False)]
    assert uris((await appview.get(TIMELINE, B))["feed"]) == [(by_c, True), (by_b, False)]
    profile = await appview.get("app.bsky.actor.getProfile", A, actor=B)
    assert (profile["viewer"]["muted"], profile["viewer"]["blockedBy"]) == (True, False)
    assert uris((await appview.get(AUTHOR_FEED, A, actor=B))["feed"]) == [(by_c, True), (by_b, False)]
    assert uris((await appview.get(AUTHOR_FEED, A, actor=C))["feed"]) == [(answer, False), (by_c, False)]
    thread = await appview.get("app.bsky.feed.getPostThread", A, uri=by_b)
    assert thread["thread"]["post"]["author"]["viewer"]["muted"]

    world.mute(A, B, None)
    await world.run()

    assert uris((await appview.get(TIMELINE, A))["feed"]) == whole


async def test_a_mute_of_a_part_leaves_that_part_out(world, appview):
    other = world.post(D, 1)
    plain, quoting = world.post(B, 2), world.post(B, 3, **quote(other))
    world.repost(B, 4, other)
    world.follow(A, 10, B)
    world.mute(A, B, bytes((ONLY_REPOSTS,)))
    await world.run()

    assert uris((await appview.get(TIMELINE, A))["feed"]) == [(quoting, False), (plain, False)]
    viewer = (await appview.get("app.bsky.actor.getProfile", A, actor=B))["viewer"]
    assert (viewer["muted"], viewer["mutedOnlyReposts"], viewer["mutedOnlyQuoteposts"]) == (False, True, False)

    world.mute(A, B, bytes((ONLY_QUOTES,)))
    await world.run()

    assert uris((await appview.get(TIMELINE, A))["feed"]) == [(other, True), (plain, False)]

    world.mute(A, B, bytes((ONLY_QUOTES | ONLY_REPOSTS,)))
    await world.run()

    assert uris((await appview.get(TIMELINE, A))["feed"]) == [(plain, False)]


async def test_a_bookmark_says_what_became_of_its_post(world, appview):
    kept, gone, blocked = world.post(B, 1), world.post(B, 2), world.post(C, 3)
    for uri in (kept, gone, blocked):
        world.bookmark(A, uri)
    world.delete(gone)
    world.block(C, 4, A)
    await world.run()

    bookmarks = await appview.all_pages(BOOKMARKS, "bookmarks", A, limit=1)

    assert [each["subject"]["uri"] for each in bookmarks] == [blocked, gone, kept]
    kinds = [each["item"]["$type"].partition("#")[2] for each in bookmarks]
    assert kinds == ["blockedPost", "notFoundPost", "postView"]
    assert bookmarks[2]["item"]["viewer"]["bookmarked"]
    assert {each["subject"]["cid"] for each in bookmarks} == {CID}
    assert (await appview.get(BOOKMARKS, B))["bookmarks"] == []
    (seen,) = (await appview.get(POSTS, B, uris=[kept]))["posts"]
    assert not seen["viewer"]["bookmarked"]

    world.bookmark(A, blocked, b"other")
    world.operate(A, "bookmark", kept, None)
    await world.run()

    assert [row[2:] for row in await world.rows(bookmarks_by_time.TABLE, A)] == [(blocked, "other"), (gone, CID)]


async def test_a_muted_thread_says_so_on_each_of_its_posts_to_who_mutes_it(world, appview):
    root = world.post(B, 1)
    answer = world.post(C, 2, reply={"root": {"uri": root, "cid": CID}, "parent": {"uri": root, "cid": CID}})
    other = world.post(C, 3)
    world.operate(A, THREAD_MUTE, root)
    await world.run()

    async def said(viewer):
        posts = (await appview.get(POSTS, viewer, uris=[root, answer, other]))["posts"]
        return [post["viewer"]["threadMuted"] for post in posts]

    assert await said(A) == [True, True, False]
    assert await said(B) == [False, False, False]
    world.operate(A, THREAD_MUTE, root, None)
    await world.run()
    assert await said(A) == [False, False, False]


class Noting:
    """A store that notes which reads reach it of what accounts have set."""

    def __init__(self, store):
        self._store = store
        self.reads = []

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def get_many(self, table, keys):
        self.reads += ["keys"] * (table is operations.TABLE)
        return await self._store.get_many(table, keys)

    async def slice(self, table, *args, **more):
        self.reads += ["slice"] * (table is operations.TABLE)
        return await self._store.slice(table, *args, **more)


async def quarrel(world):
    """B, C and D wrote; A follows them and mutes D, keeps a post of B's and mutes its thread."""
    posts = [world.post(who, number) for number, who in enumerate((B, C, D))]
    for number, who in enumerate((B, C, D)):
        world.follow(A, 10 + number, who)
    world.mute(A, D)
    world.bookmark(A, posts[0])
    world.operate(A, THREAD_MUTE, posts[0])
    await world.run()
    return posts


def set_by_a(feed):
    states = [(item["post"]["uri"], item["post"]["viewer"]) for item in feed]
    return {uri: (state["bookmarked"], state["threadMuted"]) for uri, state in states}


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("most", [2, 3, 255])
async def test_what_a_viewer_has_set_is_shown_whether_it_is_read_whole_or_by_key(
    world, store, monkeypatch, most, remote
):
    monkeypatch.setattr(own, "WHOLE_MOST", most)
    first, second, third = await quarrel(world)
    noting = Noting(store)
    appview = AppView(noting, together=at_once(4), in_time=REMOTE) if remote else AppView(noting)

    assert set_by_a((await appview.get(TIMELINE, A))["feed"]) == {first: (True, True), second: (False, False)}
    assert noting.reads == (["keys"] if remote else ["slice", "keys"] if most < 3 else ["slice"])
    shown = (await appview.get(POSTS, A, uris=third))["posts"][0]
    assert shown["author"]["viewer"]["muted"]


async def test_in_one_process_a_viewer_s_next_page_reads_nothing_of_it_until_something_is_set(world, store):
    first, _, third = await quarrel(world)
    noting = Noting(store)
    world.store = cached = CachedStore(noting)
    world.stages = None
    appview = AppView(cached)
    await appview.get(TIMELINE, A)
    noting.reads.clear()

    assert set(set_by_a((await appview.get(TIMELINE, A))["feed"])) >= {first}
    assert noting.reads == []

    world.mute(A, D, None)
    await world.run()
    noting.reads.clear()

    assert third in set_by_a((await appview.get(TIMELINE, A))["feed"])
    assert noting.reads == ["slice"]
