"""Timelines are compared by their answers with the naive fan-in: author feeds of all who are followed, merged."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.tid import Tid
from views import author_feed, big_authors, recent_by_author, timelines
from views.timeline_read import TimelineReader
from views.view import FanoutSettings

from .conftest import START, World, did, fresh_store

TINY = FanoutSettings(pull_above=2, backfill=3, keep=5, trim_every=1)


async def naive(world, reader):
    """What the reader should see: computed from the log alone."""
    live = {}
    for log in world.log.values():
        for entry in log:
            if hasattr(entry, "collection"):
                key = (entry.did, entry.collection, entry.rkey)
                live.pop(key, None)
                if entry.value is not None:
                    live[key] = world.decoder.after(entry)[0], entry.first_time
    kinds = {"post": {}, "repost": {}, "follow": {}}
    for (owner, collection, key), (record, _) in live.items():
        kind = collection.rsplit(".", 1)[1]
        if kind in kinds and record is not None:
            kinds[kind][owner, key] = record
    followed = {reader} | {r.value["subject"] for (owner, _), r in kinds["follow"].items() if owner == reader}
    there = {record.uri: record for record in kinds["post"].values()}
    found = [(r.sort_at, r.uri, "", r.did) for r in there.values() if r.did in followed]
    first = {}
    for (owner, _), record in sorted(kinds["repost"].items()):
        first.setdefault((owner, record.value["subject"]["uri"]), record)
    found += [(r.sort_at, uri, owner, owner) for (owner, uri), r in first.items() if owner in followed and uri in there]
    return sorted(found, key=lambda item: (-item[0], *item[1:3]))


async def read_all(world, reader, limit):
    pages = TimelineReader(world.store)
    after, found, fanned = None, [], False
    for _ in range(500):
        page = await pages.page(reader, after, limit)
        assert len(page.items) <= limit
        found += [tuple(item) for item in page.items]
        fanned |= page.fanned_in
        if page.next is None:
            return found, fanned
        assert after != page.next
        after = page.next
    raise AssertionError("the timeline has no end")


@pytest.mark.parametrize("order", list(itertools.permutations(["follow", "post", "repost", "unfollow", "post2"])))
async def test_every_order_of_follow_and_post_gives_the_naive_answer(store, order):
    world = World(store, settings=TINY)
    a, b, c = did("a"), did("b"), did("c")
    theirs = world.post(c, 1)
    follow = world.follow(a, 1000, c)
    for what in order:
        if what == "follow":
            mine = world.follow(a, 1, b)
        elif what == "post":
            world.post(b, 2)
        elif what == "post2":
            world.post(b, 3)
        elif what == "repost":
            world.repost(b, 4, theirs)
        elif what == "unfollow":
            world.delete(follow)
        await world.run()

    assert mine
    assert (await read_all(world, a, 2))[0] == await naive(world, a)


async def test_a_post_is_pushed_to_its_author_s_followers(world):
    a, b = did("a"), did("b")
    world.follow(a, 1, b)
    uri = world.post(b, 2)
    await world.run()

    (row,) = await world.rows(timelines.TABLE, a)

    assert row[2:] == (uri, "", b)


async def test_a_post_of_an_author_above_the_threshold_is_pulled(store):
    world = World(store, settings=TINY)
    readers = [did(f"r{'abc'[i]}") for i in range(3)]
    big = did("big")
    for number, reader in enumerate(readers):
        world.follow(reader, number, big)
    uri = world.post(big, 10)
    await world.run()

    assert await world.rows(timelines.TABLE, readers[0]) == []
    assert [row[-1] for row in await world.rows(recent_by_author.TABLE, big)] == [recent_by_author.PULL]
    for reader in readers:
        assert [item[1] for item in (await read_all(world, reader, 3))[0]] == [uri]


async def test_an_author_stays_big_while_one_pull_row_exists(store):
    world = World(store, settings=TINY)
    big = did("big")
    follows = [world.follow(did(f"r{c}"), number, big) for number, c in enumerate("abc")]
    uri = world.post(big, 10)
    world.delete(follows[0])
    world.delete(follows[1])
    world.post(big, 11)
    await world.run()

    async def listed():
        return [row for bucket in range(16) for row in await world.rows(big_authors.TABLE, bucket)]

    assert [row[1] for row in await listed()] == [big]
    assert len((await read_all(world, did("rc"), 3))[0]) == 2
    world.delete(uri)
    await world.run()
    assert await listed() == []
    assert len((await read_all(world, did("rc"), 3))[0]) == 1


async def test_what_was_trimmed_before_a_follow_is_not_forgotten(store):
    """EXACTNESS 13: posts beyond K are trimmed, the newest deleted, and a new follower still sees the old ones."""
    world = World(store, settings=TINY)
    a, b = did("a"), did("b")
    uris = [world.post(b, number) for number in range(12)]
    await world.run()
    for uri in uris[-2:]:
        world.delete(uri)
    world.follow(a, 100, b)
    await world.run()

    found, fanned = await read_all(world, a, 4)

    assert [item[1] for item in found] == uris[9::-1]
    assert fanned


async def test_a_timeline_that_was_cut_goes_on_by_fan_in(store):
    world = World(store, settings=TINY)
    a, b = did("a"), did("b")
    world.follow(a, 100, b)
    for number in range(30):
        world.post(b, number)
        await world.run()

    found, fanned = await read_all(world, a, 7)

    assert len(await world.rows(timelines.TABLE, a)) <= 6
    assert found == await naive(world, a)
    assert fanned


async def test_a_deleted_post_leaves_the_timelines(world):
    a, b = did("a"), did("b")
    world.follow(a, 1, b)
    uri = world.post(b, 2)
    await world.run()
    world.delete(uri)
    await world.run()

    assert await world.rows(timelines.TABLE, a) == []


async def test_a_reader_sees_their_own_posts(world):
    uri = world.post(did("a"), 1)
    await world.run()

    assert [item[1] for item in (await read_all(world, did("a"), 5))[0]] == [uri]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 30), shards=st.sampled_from([1, 3]), size=st.integers(1, 12))
async def test_random_networks_give_the_naive_answer(tmp_path_factory, seed, shards, size):
    dice = random.Random(seed)
    async with fresh_store(tmp_path_factory) as store:
        world = World(store, shards, TINY)
        people = [did(c) for c in "abcdef"]
        made = []
        for number in range(dice.randint(10, 120)):
            kind = dice.choice(["post", "post", "post", "repost", "follow", "follow", "delete", "again"])
            who = dice.choice(people)
            second = dice.choice([number, dice.randint(0, 120)])
            if kind == "post":
                made.append(world.post(who, number, second))
            elif kind == "repost" and (uris := [uri for uri in made if "/app.bsky.feed.post/" in uri]):
                made.append(world.repost(who, number, dice.choice(uris), second))
            elif kind == "follow":
                made.append(world.follow(who, number, dice.choice(people), second))
            elif kind == "delete" and made:
                world.delete(made.pop(dice.randrange(len(made))))
            elif kind == "again" and (uris := [uri for uri in made if "/app.bsky.feed.post/" in uri]):
                uri = dice.choice(uris)
                owner, _, key = uri[5:].split("/")
                world.post(owner, int(key_number(key)), second, langs=["en"])
            if dice.random() < 0.3:
                await world.run(size, seed)
        await world.run(size, seed)

        for reader in people:
            found, _ = await read_all(world, reader, dice.randint(1, 9))
            assert found == await naive(world, reader), reader
        feeds = [await world.rows(author_feed.TABLE, who, 0) for who in people]
        assert any(feeds) or not any("/app.bsky.feed.post/" in uri for uri in made)


def key_number(key):
    return Tid(key).micros - START
