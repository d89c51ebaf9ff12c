"""Timelines, author feeds and posts: which items, what stands beside them, what a viewer may not see."""

from __future__ import annotations

import json
import random

import pytest

from api.appview.together import at_once
from schemas.cid import Cid
from views.store_cached import CachedStore

from .appview import IMAGES, REMOTE, AppView
from .conftest import CID, did

TIMELINE = "app.bsky.feed.getTimeline"
AUTHOR = "app.bsky.feed.getAuthorFeed"
POSTS = "app.bsky.feed.getPosts"
A, B, C, D = did("a"), did("b"), did("c"), did("d")
PEOPLE = {A: "alice.test", B: "bob.test", C: "carol.test", D: "dan.test"}
IMAGE = {"$type": "blob", "ref": Cid.of_raw(b"image"), "mimeType": "image/png", "size": 5}
VIDEO = {"$type": "blob", "ref": Cid.of_raw(b"video"), "mimeType": "video/mp4", "size": 5}
IMAGES_EMBED = {"$type": "app.bsky.embed.images", "images": [{"image": IMAGE, "alt": "an image"}]}


def ref(uri):
    return {"uri": uri, "cid": CID}


def reply(root, parent=None):
    return {"reply": {"root": ref(root), "parent": ref(parent or root)}}


def quote(uri):
    return {"embed": {"$type": "app.bsky.embed.record", "record": ref(uri)}}


@pytest.fixture
def appview(store):
    return AppView(store)


@pytest.fixture
def world(world):
    for who, handle in PEOPLE.items():
        world.account(who, handle)
    return world


def uris(feed):
    return [item["post"]["uri"] for item in feed["feed"]]


async def test_a_post_comes_with_its_author_counts_and_the_viewer_s_state(world, appview):
    world.follow(A, 1, B)
    uri = world.post(B, 2, langs=["en"])
    like, repost = world.like(A, 3, uri), world.repost(A, 4, uri)
    world.like(A, 5, uri)
    world.like(C, 6, uri)
    world.post(C, 7, **reply(uri))
    world.post(C, 8, **quote(uri))
    await world.run()

    _, item = (await appview.get(TIMELINE, A))["feed"]
    post = item["post"]

    assert set(item) == {"post"}
    assert post["uri"] == uri
    assert post["author"]["did"] == B
    assert post["author"]["viewer"]["following"].startswith(f"at://{A}/app.bsky.graph.follow/")
    assert post["record"]["text"] == "post 2"
    assert (post["likeCount"], post["repostCount"], post["replyCount"], post["quoteCount"]) == (2, 1, 1, 1)
    assert post["bookmarkCount"] == 0
    assert post["viewer"] == {
        "bookmarked": False,
        "threadMuted": False,
        "embeddingDisabled": False,
        "like": like,
        "repost": repost,
    }
    assert post["labels"] == []


async def test_an_unlike_leaves_the_other_like(world, appview):
    uri = world.post(B, 2)
    first, second = world.like(A, 3, uri), world.like(A, 5, uri)
    world.delete(first)
    await world.run()

    (post,) = (await appview.get(POSTS, A, uris=uri))["posts"]

    assert post["likeCount"] == 1
    assert post["viewer"]["like"] == second


async def test_posts_have_the_fields_of_the_reference_s_own(world, appview, vectors):
    """Fields that every post of the reference's recorded timelines and feeds has."""
    folder = vectors("derived/appview-snapshots")
    seen = {"post": [], "author": [], "viewer": [], "standing": []}

    def walk(value):
        if isinstance(value, dict):
            if {"record", "likeCount", "author", "indexedAt"} <= set(value):
                seen["post"].append(set(value))
                seen["viewer"].append(set(value.get("viewer", ())))
                seen["author"].append(set(value["author"]))
                seen["standing"].append(set(value["author"].get("viewer", ())))
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    for name in ("timeline", "author-feed"):
        for path in folder.glob(f"bsky__tests__views*{name}.test.ts.json"):
            for snapshot in json.loads(path.read_text()).values():
                walk(json.loads(snapshot) if isinstance(snapshot, str) else snapshot)
    assert len(seen["post"]) > 50
    uri = world.post(B, 1)
    await world.run()

    (post,) = (await appview.get(POSTS, A, uris=uri))["posts"]

    assert set.intersection(*seen["post"]) <= set(post) <= set.union(*seen["post"])
    assert set.intersection(*seen["author"]) <= set(post["author"]) <= set.union(*seen["author"])
    assert set.intersection(*(each for each in seen["viewer"] if each)) <= set(post["viewer"])
    assert set.intersection(*(each for each in seen["standing"] if each)) <= set(post["author"]["viewer"])


async def test_nobody_in_particular_sees_posts_without_viewer_state(world, appview):
    uri = world.post(B, 2)
    await world.run()

    (post,) = (await appview.get(POSTS, uris=uri))["posts"]

    assert "viewer" not in post
    assert "viewer" not in post["author"]


async def test_a_repost_says_who_reposted(world, appview):
    world.follow(A, 1, B)
    uri = world.post(C, 2)
    repost = world.repost(B, 3, uri)
    await world.run()

    for feed in (await appview.get(TIMELINE, A), await appview.get(AUTHOR, A, actor=B)):
        (item,) = feed["feed"]
        assert item["post"]["uri"] == uri
        assert item["reason"]["$type"] == "app.bsky.feed.defs#reasonRepost"
        assert item["reason"]["by"]["handle"] == "bob.test"
        assert item["reason"]["uri"] == repost


async def test_a_reply_shows_parent_root_and_the_author_above(world, appview):
    root = world.post(A, 1)
    middle = world.post(B, 2, **reply(root))
    parent = world.post(C, 3, **reply(root, middle))
    leaf = world.post(D, 4, **reply(root, parent))
    await world.run()

    item = (await appview.get(AUTHOR, A, actor=D))["feed"][0]

    assert item["post"]["uri"] == leaf
    assert (item["reply"]["root"]["uri"], item["reply"]["parent"]["uri"]) == (root, parent)
    assert item["reply"]["parent"]["$type"] == "app.bsky.feed.defs#postView"
    assert item["reply"]["grandparentAuthor"]["did"] == B


async def test_a_reply_to_what_is_gone_says_so(world, appview):
    root = world.post(A, 1)
    parent = world.post(B, 2, **reply(root))
    world.post(C, 3, **reply(root, parent))
    world.delete(parent)
    world.takedown(root)
    await world.run()

    answered = (await appview.get(AUTHOR, A, actor=C))["feed"][0]["reply"]

    assert answered["parent"] == {"$type": "app.bsky.feed.defs#notFoundPost", "uri": parent, "notFound": True}
    assert answered["root"]["$type"] == "app.bsky.feed.defs#notFoundPost"
    assert "grandparentAuthor" not in answered


async def test_a_block_between_others_hides_how_they_stand_to_each_other(world, appview):
    """EXACTNESS 14: for every reader, whichever of the two blocks."""
    root = world.post(A, 1)
    parent = world.post(B, 2, **reply(root))
    world.post(C, 3, **reply(root, parent))
    quoting = world.post(C, 4, **quote(parent))
    block = world.block(B, 5, C)
    world.block(A, 6, B)
    await world.run()

    feed = {item["post"]["uri"]: item for item in (await appview.get(AUTHOR, D, actor=C))["feed"]}
    answered = next(item["reply"] for item in feed.values() if "reply" in item)

    assert answered["parent"]["$type"] == "app.bsky.feed.defs#blockedPost"
    assert answered["parent"]["author"] == {"did": B, "viewer": {"blockedBy": False}}
    assert answered["root"]["$type"] == "app.bsky.feed.defs#blockedPost"
    assert feed[quoting]["post"]["embed"]["record"]["$type"] == "app.bsky.embed.record#viewBlocked"

    world.delete(block)
    await world.run()
    feed = {item["post"]["uri"]: item for item in (await appview.get(AUTHOR, D, actor=C))["feed"]}

    assert feed[quoting]["post"]["embed"]["record"]["$type"] == "app.bsky.embed.record#viewRecord"


@pytest.mark.parametrize("way", [(A, B), (B, A)])
async def test_a_block_hides_two_accounts_from_each_other(world, appview, way):
    world.follow(A, 1, B)
    world.follow(A, 2, C)
    own = world.post(B, 3)
    brought = world.repost(C, 4, own)
    world.repost(B, 5, world.post(C, 6))
    answer = world.post(C, 7, **reply(own))
    free = world.post(C, 8)
    world.block(way[0], 9, way[1])
    await world.run()

    timeline = await appview.get(TIMELINE, A)
    carols = await appview.get(AUTHOR, A, actor=C)

    assert brought
    assert own not in uris(timeline)
    assert answer not in uris(timeline)
    assert free in uris(timeline)
    assert not any("reason" in item for item in timeline["feed"])
    assert own not in uris(carols)
    assert (await appview.get(POSTS, A, uris=[own, free]))["posts"][0]["uri"] == free
    hidden = next(item for item in carols["feed"] if item["post"]["uri"] == answer)
    assert hidden["reply"]["parent"]["$type"] == "app.bsky.feed.defs#blockedPost"
    name = "BlockedActor" if way == (A, B) else "BlockedByActor"
    assert (await appview.refusal(AUTHOR, A, actor=B))[:2] == (400, name)
    assert len((await appview.get(AUTHOR, actor=B))["feed"]) == 2


@pytest.mark.parametrize("status", ["takendown", "suspended", "deactivated"])
async def test_what_accounts_that_may_not_be_shown_wrote_is_not_shown(world, appview, status):
    world.follow(A, 1, B)
    world.follow(A, 2, C)
    hidden = world.post(B, 3)
    world.repost(C, 4, hidden)
    world.repost(B, 5, world.post(C, 6))
    world.post(C, 7, **quote(hidden))
    world.account(B, "bob.test", status)
    await world.run()

    feed = (await appview.get(TIMELINE, A))["feed"]

    assert [item["post"]["author"]["did"] for item in feed] == [C, C]
    assert not any("reason" in item for item in feed)
    assert feed[0]["post"]["embed"]["record"]["$type"] == "app.bsky.embed.record#viewNotFound"
    assert await appview.refusal(AUTHOR, A, actor=B) == (400, "InvalidRequest", "Profile not found")


async def test_records_taken_down_are_not_shown(world, appview):
    world.follow(A, 1, B)
    down, up = world.post(B, 2), world.post(B, 3)
    world.takedown(down)
    world.takedown(world.repost(B, 4, world.post(C, 5)))
    await world.run()

    assert uris(await appview.get(TIMELINE, A)) == [up]
    assert uris(await appview.get(AUTHOR, A, actor=B)) == [up]
    assert [post["uri"] for post in (await appview.get(POSTS, A, uris=[down, up]))["posts"]] == [up]

    world.takedown(down, takedown=False)
    await world.run()

    assert uris(await appview.get(TIMELINE, A)) == [up, down]


async def test_the_five_filters(world, appview):
    text = world.post(B, 1)
    answer = world.post(B, 2, **reply(world.post(A, 3)))
    thread = world.post(B, 4, **reply(text))
    image = world.post(B, 5, embed=IMAGES_EMBED)
    video = world.post(B, 6, embed={"$type": "app.bsky.embed.video", "video": VIDEO})
    other = world.post(C, 7)
    world.repost(B, 8, other)
    await world.run()

    async def listed(name):
        return set(uris(await appview.get(AUTHOR, A, actor="bob.test", filter=name)))

    assert await listed("posts_with_replies") == {text, answer, thread, image, video, other}
    assert await listed("posts_no_replies") == {text, image, video, other}
    assert await listed("posts_with_media") == {image}
    assert await listed("posts_with_video") == {video}
    assert await listed("posts_and_author_threads") == {text, thread, image, video, other}
    assert await listed("something_new") == await listed("posts_with_replies")


async def test_an_author_s_thread_is_shown_when_it_is_whole(world, appview):
    root = world.post(B, 1)
    middle = world.post(B, 2, **reply(root))
    leaf = world.post(B, 3, **reply(root, middle))
    strange = world.post(B, 4, **reply(root, world.post(A, 5, **reply(root))))
    await world.run()

    async def listed():
        return set(uris(await appview.get(AUTHOR, A, actor=B, filter="posts_and_author_threads")))

    assert await listed() == {root, middle, leaf}
    assert strange
    world.delete(middle)
    await world.run()
    assert await listed() == {root}


async def test_a_pin_comes_first_once_and_only_when_asked_for(world, appview):
    pin, new = world.post(B, 1), world.post(B, 2)
    world.profile(B, pinnedPost=ref(pin))
    await world.run()

    first = (await appview.get(AUTHOR, B, actor=B, includePins=True))["feed"]

    assert [item["post"]["uri"] for item in first] == [pin, new]
    assert first[0]["reason"] == {"$type": "app.bsky.feed.defs#reasonPin"}
    assert [item["post"]["viewer"]["pinned"] for item in first] == [True, False]
    assert uris(await appview.get(AUTHOR, A, actor=B)) == [new, pin]
    assert "pinned" not in (await appview.get(AUTHOR, A, actor=B))["feed"][0]["post"]["viewer"]


async def test_nobody_pins_somebody_else_s_post(world, appview):
    own = world.post(B, 1)
    world.profile(B, pinnedPost=ref(world.post(C, 2)))
    await world.run()

    assert uris(await appview.get(AUTHOR, B, actor=B, includePins=True)) == [own]


async def test_embeds_of_media_have_addresses(world, appview):
    external = {"uri": "https://example.com", "title": "T", "description": "D", "thumb": IMAGE}
    found = [
        world.post(B, 1, embed=IMAGES_EMBED),
        world.post(B, 2, embed={"$type": "app.bsky.embed.video", "video": VIDEO}),
        world.post(B, 3, embed={"$type": "app.bsky.embed.external", "external": external}),
    ]
    await world.run()

    image, video, link = [post["embed"] for post in (await appview.get(POSTS, uris=found))["posts"]]

    assert image["images"][0]["fullsize"] == f"{IMAGES}/img/feed_fullsize/plain/{B}/{IMAGE['ref']}"
    assert video["playlist"].startswith(IMAGES)
    assert link["external"]["thumb"] == f"{IMAGES}/img/feed_thumbnail/plain/{B}/{IMAGE['ref']}"


async def test_a_quote_shows_the_record_and_its_own_embeds_one_level_down(world, appview):
    deepest = world.post(A, 1, embed=IMAGES_EMBED)
    middle = world.post(B, 2, **quote(deepest))
    media = {"$type": "app.bsky.embed.recordWithMedia", "record": {"record": ref(middle)}, "media": IMAGES_EMBED}
    top = world.post(C, 3, embed=media)
    await world.run()

    (post,) = (await appview.get(POSTS, D, uris=top))["posts"]
    view = post["embed"]["record"]["record"]
    (inner,) = view["embeds"]

    assert post["embed"]["$type"] == "app.bsky.embed.recordWithMedia#view"
    assert post["embed"]["media"]["$type"] == "app.bsky.embed.images#view"
    assert (view["$type"], view["uri"], view["author"]["did"]) == ("app.bsky.embed.record#viewRecord", middle, B)
    assert view["value"]["text"] == "post 2"
    assert (view["quoteCount"], view["likeCount"]) == (1, 0)
    assert inner["record"]["uri"] == deepest
    assert "embeds" not in inner["record"]


async def test_a_quoted_image_is_an_embed_of_the_quote(world, appview):
    uri = world.post(B, 2, **quote(world.post(A, 1, embed=IMAGES_EMBED)))
    await world.run()

    (post,) = (await appview.get(POSTS, uris=uri))["posts"]

    assert post["embed"]["record"]["embeds"][0]["images"][0]["alt"] == "an image"


async def test_a_record_that_says_our_words_is_quoted_whole(world, appview):
    """Fields of a record may be named like those of a view; nothing of the record is taken for the view's."""
    uri = world.post(A, 1)
    await world.run()
    (post,) = (await appview.get(POSTS, uris=uri))["posts"]
    liar = world.put(
        A,
        "app.bsky.feed.post",
        uri.rsplit("/", 1)[1],
        {
            "text": "\x00@@ it's",
            "createdAt": post["record"]["createdAt"],
            "x": 1,
            "indexedAt": post["indexedAt"],
            "record": {"indexedAt": post["indexedAt"], "embed": 2},
            "embed": IMAGES_EMBED,
        },
    )
    quoting = world.post(B, 3, **quote(liar))
    await world.run()

    whole, post = (await appview.get(POSTS, uris=[liar, quoting]))["posts"]
    view = post["embed"]["record"]

    assert view["value"] == whole["record"]
    assert view["indexedAt"] == whole["indexedAt"]
    assert view["embeds"] == [whole["embed"]]


async def test_what_is_no_post_is_not_found_as_a_quote(world, appview):
    uri = world.post(B, 1, **quote(f"at://{A}/app.bsky.graph.list/3jzfcijpj2z2a"))
    await world.run()

    (post,) = (await appview.get(POSTS, uris=uri))["posts"]

    assert post["embed"]["record"]["$type"] == "app.bsky.embed.record#viewNotFound"


async def test_two_posts_may_quote_each_other(world, appview):
    first = world.post(A, 1)
    second = world.post(B, 2, **quote(first))
    world.put(A, "app.bsky.feed.post", first.rsplit("/", 1)[1], {"text": "x", "createdAt": "2024-01-01T00:00:00Z"})
    world.post(A, 1, **quote(second))
    await world.run()

    posts = (await appview.get(POSTS, C, uris=[first, second]))["posts"]

    assert [post["embed"]["record"]["uri"] for post in posts] == [second, first]


async def test_posts_are_found_by_a_handle_in_their_uri(world, appview):
    uri = world.post(B, 1)
    await world.run()

    got = await appview.get(POSTS, uris=[uri.replace(B, "bob.test"), uri])

    assert [post["uri"] for post in got["posts"]] == [uri]


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_pages_together_are_the_whole_once(world, appview, limit):
    world.follow(A, 1, B)
    mine = [world.post(B, number, second=number // 4) for number in range(2, 22)]
    theirs = [world.post(C, number) for number in range(30, 36)]
    for number, uri in enumerate(theirs, 40):
        world.repost(B, number, uri)
    await world.run()

    for nsid, query in ((TIMELINE, {}), (AUTHOR, {"actor": B})):
        found = [item["post"]["uri"] for item in await appview.all_pages(nsid, "feed", A, limit=limit, **query)]
        assert sorted(found) == sorted(mine + theirs)


@pytest.mark.parametrize("cursor", ["x", "e30", "!!", "WzFd", "W10", "a" * 10_000, "bnVsbA", "é", "WzEsIiIsMV0"])
async def test_a_cursor_that_is_none_of_ours_is_refused(world, appview, cursor):
    await world.run()

    assert (await appview.refusal(TIMELINE, A, cursor=cursor))[:2] == (400, "InvalidRequest")
    assert (await appview.refusal(AUTHOR, A, actor=B, cursor=cursor))[:2] == (400, "InvalidRequest")


def busy(world):
    dice = random.Random(5)
    people = [did(f"p{c}") for c in "abcdefghijklmnopqrstuvwxyz"]
    said = []
    for number, who in enumerate(people):
        world.account(who, f"{who[8:10]}.test")
        world.profile(who, displayName=who)
        world.follow(A, number, who)
    for number in range(100, 250):
        fields = {}
        if said and dice.random() < 0.4:
            fields = dice.choice([reply, quote])(dice.choice(said))
        said.append(world.post(dice.choice(people), number, **fields))
        world.like(A, number, dice.choice(said))
    world.block(people[0], 1, people[1])
    world.block(A, 1, people[2])
    return people, said


async def test_a_page_takes_a_bounded_number_of_statements(world, store):
    """Beside 4 slices and 25 for the viewer's own state: 2 a post, 3 an account, those left out by rules included."""
    appview = AppView(store, in_time=REMOTE)
    people, said = busy(world)
    await world.run()
    await appview.get(TIMELINE, A, limit=1)  # the big authors are read once for all readers
    for nsid, query in ((TIMELINE, {}), (AUTHOR, {"actor": people[3]}), (POSTS, {"uris": said[-25:]})):
        appview.store.keys = appview.store.slices = 0
        if nsid != POSTS:
            query["limit"] = 30
        feed = await appview.get(nsid, A, **query)
        shown, accounts = set(), set()
        for item in feed.get("feed") or [{"post": post} for post in feed["posts"]]:
            every = [item["post"], *(item.get("reply", {}).get(name) for name in ("root", "parent"))]
            every = [post for post in every if post is not None]
            while every:
                post = every.pop()
                shown.add(post["uri"])
                accounts.add(post.get("author", {}).get("did"))
                embed = post.get("embed") or next(iter(post.get("embeds", ())), {})
                every += [embed["record"]] if "record" in embed else []
        assert len(shown) >= 5
        assert appview.store.slices <= 4
        assert appview.store.keys <= 25 + 2 * (len(shown) + 5) + 3 * (len(accounts) + 5), nsid


async def test_a_page_of_posts_is_four_slices_and_five_statements_an_item(world, store):
    """Invariant 10, as CQL counts; what an item answers or quotes is an item more."""
    appview = AppView(store, in_time=REMOTE)
    people = [did(f"p{c}") for c in "abcdefghijklmnopqrstuvwxyz"]
    for number, who in enumerate(people):
        world.account(who, f"{who[8:10]}.test")
        world.follow(A, number, who)
        world.follow(who, number, A)
    for number in range(100, 140):
        uri = world.post(people[number % len(people)], number)
        world.like(A, number, uri)
        world.repost(B, number, uri)
    await world.run()
    await appview.get(TIMELINE, A, limit=1)
    for limit in (30, 15):
        appview.store.keys = appview.store.slices = 0

        page = await appview.get(TIMELINE, A, limit=limit)

        assert len(page["feed"]) == limit
        assert appview.store.slices <= 4
        assert appview.store.keys <= 5 * limit + (limit < 30) * 25


async def test_statements_at_once_and_rows_from_memory_give_the_same_bytes(world, store, appview):
    people, said = busy(world)
    await world.run()
    others = (
        AppView(store, together=at_once(4), in_time=REMOTE),
        AppView(CachedStore(store)),
        AppView(store, together=at_once(4), in_time=REMOTE, kept=3_600.0),
    )

    for nsid, query in ((TIMELINE, {}), (AUTHOR, {"actor": people[3]}), (POSTS, {"uris": said[-25:]})):
        for viewer in (A, people[0]):
            expected = await appview.raw(nsid, viewer, **query)
            for other in others:
                assert await other.raw(nsid, viewer, **query) == expected
                assert await other.raw(nsid, viewer, **query) == expected
