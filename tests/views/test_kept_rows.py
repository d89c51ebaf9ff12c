"""An AppView that keeps rows between requests: its writers see what they wrote, and nobody what is hidden for long."""

from __future__ import annotations

import random

import pytest

from api.appview.together import at_once
from schemas.operations import BOOKMARK, MUTE, THREAD_MUTE
from views import ALL
from views.store_sqlite import SqliteStore

from .appview import REMOTE, AppView
from .conftest import CID, World, did

TIMELINE, POSTS, THREAD = "app.bsky.feed.getTimeline", "app.bsky.feed.getPosts", "app.bsky.feed.getPostThread"
AUTHOR, PROFILE = "app.bsky.feed.getAuthorFeed", "app.bsky.actor.getProfile"
A, B, C = did("a"), did("b"), did("c")
PEOPLE = (A, B, C, did("d"))
SECONDS = 1.0


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def keeping(store, clock):
    return AppView(store, kept=SECONDS, now=clock, together=at_once(4), in_time=REMOTE)


@pytest.fixture
def clock():
    return Clock()


def known(world, people=PEOPLE):
    for who in people:
        world.account(who, f"{who[8]}.test")
        world.profile(who, displayName=who[8])


async def test_a_writer_sees_the_own_write_at_once_and_others_see_it_with_it(world, store, clock):
    known(world)
    post = world.post(B, 1)
    await world.run()
    appview = keeping(store, clock)
    await appview.get(POSTS, A, uris=post)
    world.like(A, 1, post)
    await world.run()
    clock.now += 0.2

    others = (await appview.get(POSTS, C, uris=post))["posts"][0]
    writer = (await appview.since(clock.now).get(POSTS, A, uris=post))["posts"][0]
    then = (await appview.get(POSTS, C, uris=post))["posts"][0]

    assert others["likeCount"] == 0
    assert writer["likeCount"] == 1
    assert "like" in writer["viewer"]
    assert then["likeCount"] == 1


@pytest.mark.parametrize("how", ["takedown", "block", "deactivated", "deleted post", "deleted account", "gone profile"])
async def test_what_hides_is_hidden_from_everybody_when_what_is_kept_has_had_its_time(world, store, clock, how):
    known(world)
    post = world.post(B, 1)
    await world.run()
    appview = keeping(store, clock)
    shown = await appview.get(POSTS, A, uris=post)
    if how == "takedown":
        world.takedown(post)
    elif how == "block":
        world.block(B, 1, A)
    elif how == "deactivated":
        world.account(B, "b.test", "deactivated")
    elif how == "deleted post":
        world.delete(post)
    elif how == "deleted account":
        world.delete_account(B)
    else:
        world.takedown(f"at://{B}/app.bsky.actor.profile/self")
    await world.run()

    clock.now += SECONDS
    await appview.get(POSTS, A, uris=post)  # what is asked for again is not kept longer for it
    clock.now += 0.001
    hidden = await appview.get(POSTS, A, uris=post)

    assert shown["posts"]
    assert hidden == await AppView(store).get(POSTS, A, uris=post) != shown


async def test_a_post_is_in_a_page_although_it_was_asked_for_before_it_came(world, store, clock):
    known(world)
    world.follow(A, 1, B)
    await world.run()
    appview = keeping(store, clock)
    uri = f"at://{B}/app.bsky.feed.post/3jzfcijpj2z2a"
    await appview.get(POSTS, A, uris=uri)
    world.put(B, "app.bsky.feed.post", "3jzfcijpj2z2a", {"text": "x", "createdAt": "2024-01-01T00:00:00Z"})
    await world.run()

    page = await appview.get(TIMELINE, A)

    assert [item["post"]["uri"] for item in page["feed"]] == [uri]


async def test_pages_within_a_second_take_few_statements(world, store, clock):
    known(world)
    for number in range(40):
        uri = world.post(PEOPLE[1 + number % 3], number)
        world.like(A, number, uri)
        world.repost(B, number + 50, uri)
    for number, who in enumerate(PEOPLE):
        world.follow(A, number, who)
        world.follow(C, number, who)
    await world.run()
    appview = keeping(store, clock)
    await appview.get(TIMELINE, C, limit=30)
    appview.store.keys = appview.store.slices = 0

    page = await appview.get(TIMELINE, A, limit=30)

    assert len(page["feed"]) == 30
    # The reader's own: the page, likes and reposts in eight partitions each, follows, followers, blocks both ways.
    assert appview.store.slices <= 4
    assert appview.store.keys <= 30
    assert page == await AppView(store, in_time=REMOTE).get(TIMELINE, A, limit=30)


async def test_what_a_viewer_sets_is_in_the_next_answer_of_every_appview_though_each_keeps_rows(world, store, clock):
    known(world)
    post = world.post(B, 1)
    world.follow(A, 1, B)
    await world.run()
    appviews = keeping(store, clock), keeping(store, clock)

    async def shown(of):
        feed = [item["post"]["uri"] for item in (await of.get(TIMELINE, A))["feed"]]
        viewer = (await of.get(POSTS, A, uris=post))["posts"][0]["viewer"]
        muted = [each["did"] for each in (await of.get("app.bsky.graph.getMutes", A))["mutes"]]
        return feed, viewer["bookmarked"], viewer["threadMuted"], muted

    # The clock stands: all that may be kept is, and no answer demands what is newer.
    for set_now in (False, True, False, True):
        if set_now:
            world.mute(A, B)
            world.bookmark(A, post)
            world.operate(A, THREAD_MUTE, post)
        else:
            for kind, subject in ((MUTE, B), (BOOKMARK, post), (THREAD_MUTE, post)):
                world.operate(A, kind, subject, None)
        await world.run()
        for appview in appviews:
            assert await shown(appview) == (([], True, True, [B]) if set_now else ([post], False, False, []))


class Life:
    """What happens between people, at random, and what each of them must be shown."""

    def __init__(self, seed, world, store):
        self.dice = random.Random(seed)
        self.world = world
        self.store = store
        self.clock = Clock()
        self.plain = AppView(store, in_time=REMOTE)
        self.kept = keeping(store, self.clock)
        self.posts = []
        self.number = 100
        self.changed = self.clock.now
        self.compared = self.spared = 0

    def write(self):
        dice, world, who = self.dice, self.world, self.dice.choice(PEOPLE)
        self.number += 1
        deed = dice.choice(("post", "reply", "quote", "like", "repost", "follow", "block", "take", "delete", "state"))
        if deed in ("reply", "quote", "like", "repost", "take", "delete") and not self.posts:
            deed = "post"
        some = dice.choice(self.posts) if self.posts else ""
        ref = {"uri": some, "cid": CID}
        if deed == "post":
            self.posts.append(world.post(who, self.number))
        elif deed == "reply":
            self.posts.append(world.post(who, self.number, reply={"root": ref, "parent": ref}))
        elif deed == "quote":
            embed = {"$type": "app.bsky.embed.record", "record": ref}
            self.posts.append(world.post(who, self.number, embed=embed))
        elif deed in ("like", "repost"):
            getattr(world, deed)(who, self.number, some)
        elif deed in ("follow", "block"):
            # One key each, so that it is taken back by being put to another.
            getattr(world, deed)(who, dice.randrange(3), dice.choice([each for each in PEOPLE if each != who]))
        elif deed == "take":
            world.takedown(some, takedown=dice.random() < 0.6)
        elif deed == "delete":
            if some[5:].partition("/")[0] + some in {owner + uri for owner, uri in self._live()}:
                world.delete(some)
        else:
            world.account(who, f"{who[8]}.test", dice.choice(("active", "active", "deactivated", "takendown")))
        self.changed = self.clock.now
        return who

    def _live(self):
        return [(owner, f"at://{owner}/{collection}/{key}") for owner, collection, key in self.world.live]

    async def ask(self, of, viewer, asked):
        nsid, query = asked
        try:
            return await of.get(nsid, viewer, **query)
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - a refusal is an answer, too
            return repr(error)

    async def compare(self, viewer, *, since=None):
        """As it must be: what the store says, where nothing was written since what may be shown."""
        dice = self.dice
        asked = [(TIMELINE, {}), (AUTHOR, {"actor": dice.choice(PEOPLE)}), (PROFILE, {"actor": dice.choice(PEOPLE)})]
        if self.posts:
            asked += [(POSTS, {"uris": dice.sample(self.posts, min(4, len(self.posts)))})]
            asked += [(THREAD, {"uri": dice.choice(self.posts)})]
        for each in dice.sample(asked, 2):
            of = self.kept if since is None else self.kept.since(since)
            self.plain.store.keys = of.store.keys = 0
            found, must = await self.ask(of, viewer, each), await self.ask(self.plain, viewer, each)
            self.spared += self.plain.store.keys - of.store.keys
            oldest = max(self.clock.now - SECONDS, since or 0.0)
            if self.changed < oldest or since == self.clock.now:
                assert found == must, (viewer, each)
                self.compared += 1


@pytest.mark.parametrize("seed", range(8))
async def test_random_lives_are_shown_as_they_are_to_writers_and_soon_to_all(tmp_path, seed):
    store = SqliteStore(tmp_path / "views.sqlite", [view.table for view in ALL])
    life = Life(seed, World(store), store)
    known(life.world)
    await life.world.run()
    for _ in range(60):
        deed = life.dice.random()
        if deed < 0.45:
            who = life.write()
            await life.world.run()
            life.clock.now += 0.001
            await life.compare(who, since=life.clock.now)
        elif deed < 0.6:
            life.clock.now += life.dice.choice((0.1, 0.5, 1.1))
        elif deed < 0.63:
            life.kept = keeping(store, life.clock)  # a flip
        else:
            await life.compare(life.dice.choice(PEOPLE))
    await store.close()

    assert life.compared > 40
    assert life.spared > 0
