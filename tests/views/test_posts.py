"""Given this log, these rows of `posts`, `thread` and `author_feed`."""

from __future__ import annotations

import orjson
import pytest

from schemas.cid import Cid
from views import author_feed, posts, thread
from views.author_feed import (
    POSTS_AND_AUTHOR_THREADS,
    POSTS_NO_REPLIES,
    POSTS_WITH_MEDIA,
    POSTS_WITH_REPLIES,
    POSTS_WITH_VIDEO,
)
from views.record import POST

from .conftest import CID, START, at, did, rkey

BLOB = {"$type": "blob", "ref": Cid.of_raw(b"x"), "mimeType": "image/png", "size": 5}
VIDEO = {**BLOB, "mimeType": "video/mp4"}
IMAGES = {"$type": "app.bsky.embed.images", "images": [{"image": BLOB, "alt": 'a "b" \x00'}]}


def reply(root, parent=None):
    return {"root": {"uri": root, "cid": CID}, "parent": {"uri": parent or root, "cid": CID}}


def quote(uri):
    return {"$type": "app.bsky.embed.record", "record": {"uri": uri, "cid": CID}}


async def post_row(world, uri):
    (row,) = await world.rows(posts.TABLE, uri)
    return dict(zip([column.name for column in posts.TABLE.all_columns], row, strict=True))


def shown(row):
    return orjson.loads((row["view"] + b"}").replace(b"\x00", b"https://cdn.test"))


@pytest.mark.parametrize(
    ("embed", "kind", "bits"),
    [
        (IMAGES, "app.bsky.embed.images#view", posts.HAS_IMAGES),
        ({"$type": "app.bsky.embed.video", "video": VIDEO}, "app.bsky.embed.video#view", posts.HAS_VIDEO),
        (
            {
                "$type": "app.bsky.embed.external",
                "external": {"uri": "https://x.test", "title": "t", "description": "d", "thumb": BLOB},
            },
            "app.bsky.embed.external#view",
            posts.HAS_EXTERNAL,
        ),
        (
            {
                "$type": "app.bsky.embed.gallery",
                "items": [
                    {
                        "$type": "app.bsky.embed.gallery#image",
                        "image": BLOB,
                        "alt": "",
                        "aspectRatio": {"width": 1, "height": 2},
                    }
                ],
            },
            "app.bsky.embed.gallery#view",
            posts.HAS_IMAGES,
        ),
    ],
)
async def test_a_post_s_media_is_ready_to_send(world, embed, kind, bits):
    uri = world.post(did("a"), 1, embed=embed)
    await world.run()

    row = await post_row(world, uri)

    assert shown(row)["embed"]["$type"] == kind
    assert row["media_kinds"] == bits
    assert b"https://cdn.test/" in (row["view"]).replace(b"\x00", b"https://cdn.test")


async def test_an_embed_of_a_kind_we_do_not_know_shows_nothing(world):
    uri = world.post(did("a"), 1, embed={"$type": "com.example.embed", "x": 1})
    await world.run()

    row = await post_row(world, uri)

    assert "embed" not in shown(row)
    assert shown(row)["record"]["embed"]["$type"] == "com.example.embed"


async def test_a_quote_with_media_keeps_its_media_apart(world):
    other = world.post(did("b"), 1)
    embed = {"$type": "app.bsky.embed.recordWithMedia", "record": quote(other), "media": IMAGES}
    uri = world.post(did("a"), 2, embed=embed)
    await world.run()

    row = await post_row(world, uri)

    assert row["quote"] == other
    assert "embed" not in shown(row)
    assert orjson.loads(row["media"].replace(b"\x00", b"x"))["$type"] == "app.bsky.embed.images#view"


async def test_sort_at_is_the_earlier_of_what_the_record_and_the_log_say(world):
    early = world.post(did("a"), 1, second=5)
    late = world.post(did("a"), 2, second=10_000_000)
    await world.run()

    assert (await post_row(world, early))["sort_at"] == START + 5_000_000
    row = await post_row(world, late)
    assert row["sort_at"] == row["indexed_at"] == world.live[did("a"), POST, rkey(2)]


async def test_a_thread_holds_the_replies_of_its_root_alone(world):
    root = world.post(did("a"), 1)
    first = world.post(did("b"), 2, reply=reply(root))
    second = world.post(did("c"), 3, reply=reply(root, first))
    await world.run()
    assert [(row[1], row[2]) for row in await world.rows(thread.TABLE, root)] == sorted(
        [(first, root), (second, first)]
    )
    world.delete(first)
    await world.run()

    assert [row[1] for row in await world.rows(thread.TABLE, root)] == [second]


async def test_each_filter_of_an_author_feed_holds_what_the_reference_puts_there(world):
    a, b = did("a"), did("b")
    theirs = world.post(b, 0)
    plain = world.post(a, 1)
    image = world.post(a, 2, embed=IMAGES)
    video = world.post(a, 3, embed={"$type": "app.bsky.embed.video", "video": VIDEO})
    own_thread = world.post(a, 4, reply=reply(plain))
    answer = world.post(a, 5, reply=reply(theirs))
    world.repost(a, 6, theirs)
    await world.run()

    async def held(which):
        return [row[3] for row in await world.rows(author_feed.TABLE, a, which)]

    assert await held(POSTS_WITH_REPLIES) == [theirs, answer, own_thread, video, image, plain]
    assert await held(POSTS_NO_REPLIES) == [theirs, video, image, plain]
    assert await held(POSTS_WITH_MEDIA) == [image]
    assert await held(POSTS_WITH_VIDEO) == [video]
    assert await held(POSTS_AND_AUTHOR_THREADS) == [theirs, own_thread, video, image, plain]
    assert (await world.statics(author_feed.TABLE, a, POSTS_WITH_REPLIES))[0] == 5


async def test_an_edited_post_moves_in_the_feed_and_is_counted_once(world):
    uri = world.post(did("a"), 1)
    await world.run()
    world.post(did("a"), 1, second=50)
    await world.run()

    (row,) = await world.rows(author_feed.TABLE, did("a"), POSTS_WITH_REPLIES)

    assert row[2:4] == (START + 50_000_000, uri)
    assert (await world.statics(author_feed.TABLE, did("a"), POSTS_WITH_REPLIES))[0] == 1


async def test_self_labels_are_label_objects(world):
    labels = {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "porn"}, {"val": "x"}]}
    uri = world.post(did("a"), 1, labels=labels)
    await world.run()

    got = orjson.loads(b"[" + (await post_row(world, uri))["labels"] + b"]")

    assert [(label["src"], label["uri"], label["val"]) for label in got] == [
        (did("a"), uri, "porn"),
        (did("a"), uri, "x"),
    ]
    assert got[0]["cts"] == at(1)
