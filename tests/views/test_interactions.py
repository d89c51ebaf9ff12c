"""Given this log, these rows and counts of likes, reposts, replies, quotes, follows and blocks."""

from __future__ import annotations

import pytest

from views import (
    author_feed,
    blocked_by,
    blocks_by_actor,
    blocks_by_time,
    followers,
    follows_by_actor,
    follows_by_time,
    interactions,
    likes_by_actor,
)
from views.interactions import LIKE, REPOST

from .conftest import CID, START, did

A, B, C = did("a"), did("b"), did("c")


async def counts(world, uri):
    values = await world.statics(interactions.TABLE, uri)
    return None if values is None else values[:4]


async def test_duplicate_likes_count_once_and_the_smallest_rkey_is_the_one(world):
    uri = world.post(A, 1)
    world.like(B, 7, uri)
    first = world.like(B, 3, uri)
    world.like(B, 9, uri)
    await world.run()

    (row,) = await world.rows(interactions.TABLE, uri, LIKE)

    assert row[3:5] == (B, first)
    assert await counts(world, uri) == (1, 0, 0, 0)


@pytest.mark.parametrize("size", [None, 1, 3])
async def test_an_unlike_leaves_no_row_and_uncovers_the_next_duplicate(world, size):
    uri = world.post(A, 1)
    likes = [world.like(B, number, uri) for number in (2, 3, 4)]
    world.delete(likes[0])
    await world.run(size)
    (row,) = await world.rows(interactions.TABLE, uri, LIKE)
    assert row[4] == likes[1]
    for like in likes[1:]:
        world.delete(like)
    await world.run(size)

    assert await world.rows(interactions.TABLE, uri) == []
    assert await counts(world, uri) == (0, 0, 0, 0)
    assert await world.store.get_many(likes_by_actor.TABLE, [likes_by_actor.key(B, uri)]) == [None]


async def test_a_like_put_again_with_another_time_or_subject_moves_whole(world):
    """EXACTNESS 9: the old row's sort key travels with the message."""
    one, two = world.post(A, 1), world.post(A, 2)
    world.like(B, 3, one, second=3)
    await world.run()
    world.like(B, 3, one, second=30)
    await world.run()
    assert [row[2] for row in await world.rows(interactions.TABLE, one, LIKE)] == [START + 30_000_000]
    world.like(B, 3, two, second=31)
    await world.run()

    assert await world.rows(interactions.TABLE, one) == []
    assert (await counts(world, one), await counts(world, two)) == ((0, 0, 0, 0), (1, 0, 0, 0))


async def test_likes_stay_when_their_post_is_deleted(world):
    uri = world.post(A, 1)
    world.like(B, 2, uri)
    world.delete(uri)
    await world.run()

    assert await counts(world, uri) == (1, 0, 0, 0)


async def test_replies_and_quotes_each_count(world):
    uri = world.post(A, 1)
    ref = {"uri": uri, "cid": CID}
    embed = {"$type": "app.bsky.embed.record", "record": ref}
    for number in (2, 3):
        world.post(B, number, reply={"root": ref, "parent": ref})
    both = world.post(B, 4, reply={"root": ref, "parent": ref}, embed=embed)
    await world.run()
    assert await counts(world, uri) == (0, 0, 3, 1)
    world.delete(both)
    await world.run()

    assert await counts(world, uri) == (0, 0, 2, 0)


async def test_a_repost_shows_once_in_the_feed_and_among_the_interactions(world):
    uri = world.post(A, 1)
    late = world.repost(B, 5, uri)
    first = world.repost(B, 4, uri)
    await world.run()
    assert [row[4] for row in await world.rows(interactions.TABLE, uri, REPOST)] == [first]
    assert [row[4] for row in await world.rows(author_feed.TABLE, B, 0)] == [first]
    world.delete(first)
    await world.run()

    assert [row[4] for row in await world.rows(author_feed.TABLE, B, 0)] == [late]
    assert await counts(world, uri) == (0, 1, 0, 0)


async def test_follows_are_counted_on_both_sides(world):
    follow = world.follow(A, 1, B)
    world.follow(A, 2, B)
    world.follow(A, 3, C)
    world.follow(C, 4, B)
    await world.run()
    assert (await world.statics(follows_by_actor.TABLE, A))[0] == 2
    assert (await world.statics(followers.TABLE, B, 0))[0] == 2
    assert [row[3] for row in await followers.page(world.store, B, None, 10)] == [C, A]
    assert [row[2] for row in await world.rows(follows_by_time.TABLE, A)] == [C, B]
    world.delete(follow)
    await world.run()

    assert (await world.statics(followers.TABLE, B, 0))[0] == 2
    (row,) = await world.store.get_many(follows_by_actor.TABLE, [(A, B)])
    assert row is not None


async def test_followers_are_paged_across_their_buckets_in_order(world):
    people = [did(f"f{c}{d}") for c in "abcde" for d in "abcde"]
    for number, who in enumerate(people):
        world.follow(who, number, B, second=number // 2)
    await world.run()
    after, found = None, []
    while rows := await followers.page(world.store, B, after, 4):
        found += rows
        after = rows[-1][2:4]

    assert [row[3] for row in found] == [people[n] for n in sorted(range(25), key=lambda n: (-(n // 2), people[n]))]
    assert len({row[1] for row in found}) > 1


async def test_blocks_are_found_from_both_sides(world):
    block = world.block(A, 1, B)
    await world.run()
    assert (await world.store.get_many(blocks_by_actor.TABLE, [(A, B), (B, A)]))[0][3] == block
    assert await world.rows(blocked_by.TABLE, B) == [(B, A, block)]
    assert [row[2] for row in await world.rows(blocks_by_time.TABLE, A)] == [B]
    world.delete(block)
    await world.run()

    assert await world.store.get_many(blocks_by_actor.TABLE, [(A, B)]) == [None]
    assert await world.rows(blocked_by.TABLE, B) == []
    assert await world.rows(blocks_by_time.TABLE, A) == []


async def test_the_deletion_of_an_account_removes_its_records_from_every_view(world):
    uri = world.post(A, 1)
    mine = world.post(B, 2)
    world.like(B, 3, uri)
    world.repost(B, 4, uri)
    world.follow(B, 5, A)
    world.block(B, 6, A)
    world.like(A, 7, mine)
    await world.run()
    world.delete_account(B)
    await world.run()

    assert await counts(world, uri) == (0, 0, 0, 0)
    assert (await world.statics(followers.TABLE, A, 0))[0] == 0
    assert await world.rows(blocked_by.TABLE, A) == []
    assert await world.rows(author_feed.TABLE, B, 0) == []
    assert await counts(world, mine) == (1, 0, 0, 0)


async def test_a_follow_put_again_with_another_subject_is_still_one(world):
    world.follow(A, 1, B)
    await world.run()
    world.follow(A, 1, C)
    await world.run()

    assert (await world.statics(follows_by_actor.TABLE, A))[0] == 1
    assert [row[2] for row in await world.rows(follows_by_time.TABLE, A)] == [C]
    assert (await world.statics(followers.TABLE, B, 0))[0] == 0
    assert (await world.statics(followers.TABLE, C, 0))[0] == 1
