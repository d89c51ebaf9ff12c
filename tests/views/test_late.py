"""A table that cannot be read: what an answer can do without is left out and counted, what hides makes it no answer."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from api.appview.gate import GatedStore
from api.appview.late import Part, within
from api.appview.together import at_once, in_turn
from schemas.errors import XrpcError
from views import (
    actors,
    actors_by_prefix,
    author_feed,
    blocked_by,
    blocks_by_actor,
    followed_by,
    followers,
    follows_by_actor,
    interactions,
    likes_by_actor,
    posts,
    reposts_by_actor,
    restrictions,
    timelines,
)

from .appview import AppView
from .conftest import CID, did

TIMELINE, POSTS, THREAD = "app.bsky.feed.getTimeline", "app.bsky.feed.getPosts", "app.bsky.feed.getPostThread"
PROFILE, PROFILES = "app.bsky.actor.getProfile", "app.bsky.actor.getProfiles"
TYPEAHEAD, RELATIONSHIPS = "app.bsky.actor.searchActorsTypeahead", "app.bsky.graph.getRelationships"
A, B, C = did("a"), did("b"), did("c")
COUNTS = {"likeCount", "repostCount", "replyCount", "quoteCount"}
PROFILE_COUNTS = {"followersCount", "followsCount", "postsCount"}
NAMES = {
    Part.COUNTS: COUNTS,
    Part.REACTIONS: {"like", "repost"},
    Part.FOLLOWS: {"following", "followedBy"},
    Part.PROFILE_COUNTS: PROFILE_COUNTS,
}
LONG = 600.0


class AwayError(Exception):
    """The store's word for no answer."""


class Away:
    """The store, without some of its tables."""

    def __init__(self, store, *tables):
        self._store = store
        self._tables = tables

    def __getattr__(self, name):
        async def asked(table, *args, **more):
            if table in self._tables:
                raise AwayError
            return await getattr(self._store, name)(table, *args, **more)

        return asked


class Asked:
    """An AppView whose store lacks tables; `lacked` are the parts that its answers went without."""

    def __init__(self, store, *tables, together=None):
        self.lacked = Counter()
        self.appview = AppView(
            GatedStore(Away(store, *tables), 256, AwayError),
            together=together or at_once(4),
            big_kept=LONG,
            in_time=within(LONG, self._lack),
        )
        self.get, self.refusal = self.appview.get, self.appview.refusal

    def _lack(self, part):
        self.lacked[part] += 1


def without(value, names):
    if isinstance(value, dict):
        return {name: without(each, names) for name, each in value.items() if name not in names}
    return [without(each, names) for each in value] if isinstance(value, list) else value


@pytest.fixture
async def said(world):
    """B's post that A likes and reposts, and C quotes and answers; A and B follow one another, A follows C."""
    for who, handle in ((A, "alice.test"), (B, "bob.test"), (C, "carol.test")):
        world.account(who, handle)
        world.profile(who, displayName=handle)
    for number, pair in enumerate(((A, B), (B, A), (A, C))):
        world.follow(pair[0], number, pair[1])
    post = world.post(B, 10)
    world.like(A, 1, post)
    world.repost(A, 2, post)
    ref = {"uri": post, "cid": CID}
    reply = world.post(C, 11, reply={"root": ref, "parent": ref})
    world.like(B, 3, reply)
    world.post(C, 12, embed={"$type": "app.bsky.embed.record", "record": ref})
    await world.run()
    return post


@pytest.mark.parametrize(
    ("nsid", "table", "lacked"),
    [
        (TIMELINE, interactions.TABLE, {Part.COUNTS}),
        (TIMELINE, likes_by_actor.TABLE, {Part.REACTIONS}),
        (TIMELINE, followed_by.TABLE, {Part.FOLLOWS}),
        (POSTS, interactions.TABLE, {Part.COUNTS}),
        (POSTS, likes_by_actor.TABLE, {Part.REACTIONS}),
        (POSTS, reposts_by_actor.TABLE, {Part.REACTIONS}),
        (POSTS, followed_by.TABLE, {Part.FOLLOWS}),
        (POSTS, follows_by_actor.TABLE, {Part.FOLLOWS}),
        (PROFILES, followed_by.TABLE, {Part.FOLLOWS}),
        (PROFILES, follows_by_actor.TABLE, {Part.FOLLOWS, Part.PROFILE_COUNTS}),
    ],
)
async def test_what_an_answer_can_do_without_is_left_out_and_counted(store, said, nsid, table, lacked):
    query = {POSTS: {"uris": [said]}, PROFILES: {"actors": [A, B, C]}}.get(nsid, {"limit": 30})
    whole = await AppView(store).get(nsid, A, **query)
    asked = Asked(store, table)

    answer = await asked.get(nsid, A, **query)

    names = set().union(*(NAMES[part] for part in lacked))
    assert without(answer, names) == without(whole, names)
    assert answer != whole
    assert asked.lacked.keys() == lacked


@pytest.mark.parametrize("table", [follows_by_actor.TABLE, reposts_by_actor.TABLE])
@pytest.mark.usefixtures("said")
async def test_a_timeline_is_made_of_follows_and_reposts_and_is_none_without(store, table):
    assert (await Asked(store, table).refusal(TIMELINE, A, limit=30))[0] == 503


@pytest.mark.parametrize("table", [followers.TABLE, author_feed.TABLE])
@pytest.mark.usefixtures("said")
async def test_a_profile_without_its_counts_is_a_profile(store, table):
    whole = await AppView(store).get(PROFILE, A, actor=B)
    asked = Asked(store, table)

    answer = await asked.get(PROFILE, A, actor=B)

    assert whole.keys() >= PROFILE_COUNTS
    assert answer == without(whole, PROFILE_COUNTS)
    assert asked.lacked == {Part.PROFILE_COUNTS: 1}


async def test_a_thread_goes_without_what_its_first_author_likes(store, said):
    whole = await AppView(store).get(THREAD, A, uri=said)
    asked = Asked(store, likes_by_actor.TABLE)

    answer = await asked.get(THREAD, A, uri=said)

    assert whole["thread"]["replies"][0]["threadContext"]
    names = {"rootAuthorLike", "like", "repost"}
    assert without(answer, names) == without(whole, names)
    assert answer["thread"]["replies"][0]["threadContext"] == {}
    assert asked.lacked == {Part.ROOT_LIKES: 1, Part.REACTIONS: 1}


@pytest.mark.usefixtures("said")
async def test_nobody_is_suggested_while_suggestions_cannot_be_read(store):
    asked = Asked(store, actors_by_prefix.TABLE)

    assert (await AppView(store).get(TYPEAHEAD, A, q="bob"))["actors"]
    assert await asked.get(TYPEAHEAD, A, q="bob") == {"actors": []}
    assert asked.lacked == {Part.TYPEAHEAD: 1}


@pytest.mark.usefixtures("said")
async def test_who_stands_to_whom_is_not_answered_without_follows(store):
    assert (await Asked(store, followed_by.TABLE).refusal(RELATIONSHIPS, None, actor=A, others=[B]))[0] == 503


@pytest.mark.parametrize("together", [in_turn, at_once(4)])
@pytest.mark.parametrize(
    "table",
    [
        actors.TABLE,
        blocked_by.TABLE,
        blocks_by_actor.TABLE,
        posts.TABLE,
        restrictions.TABLE,
        timelines.TABLE,
    ],
)
@pytest.mark.usefixtures("said")
async def test_without_what_hides_there_is_no_answer(store, table, together):
    asked = Asked(store, table, together=together)

    assert (await asked.refusal(TIMELINE, A, limit=30))[0] == 503


async def test_what_comes_too_late_is_given_up_and_what_fails_otherwise_is_not():
    lacked = []
    wait = within(0.001, lacked.append)

    async def never():
        await asyncio.Event().wait()

    async def refused():
        raise XrpcError("InvalidRequest", "no", 400)

    async def at_once():
        pass

    assert not await wait(Part.COUNTS, never())
    with pytest.raises(XrpcError, match="no"):
        await within(LONG, lacked.append)(Part.FOLLOWS, refused())
    assert await within(LONG, lacked.append)(Part.TYPEAHEAD, at_once())
    assert lacked == [Part.COUNTS]
