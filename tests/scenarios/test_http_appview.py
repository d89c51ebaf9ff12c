"""From a write at the PDS to the AppView's answer, over HTTP, in one process."""

from __future__ import annotations

import orjson
import pytest

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 64


async def upload(house, member, data, mime):
    url = f"{house.network.addresses['xrpc']}/xrpc/com.atproto.repo.uploadBlob"
    async with house.session.post(url, data=data, headers={**member.auth, "Content-Type": mime}) as response:
        return orjson.loads(await response.read())["blob"]


async def test_one_s_own_write_is_in_the_next_answer(house):
    alice, bob = await house.join("alice"), await house.join("bob")
    created = "2026-01-01T00:00:00.000Z"
    await house.create(alice, "app.bsky.graph.follow", {"subject": bob.did, "createdAt": created})
    post = await house.say(bob, "hello")
    profile = await house.get("app.bsky.actor.getProfile", bob.auth, actor="bob.test")
    liked = await house.create(alice, "app.bsky.feed.like", {"subject": post, "createdAt": created})

    timeline = await house.get("app.bsky.feed.getTimeline", alice.auth, limit=30)
    (item,) = timeline.body["feed"]

    assert item["post"]["uri"] == post["uri"]
    assert item["post"]["viewer"]["like"] == liked["uri"]
    assert item["post"]["likeCount"] == 1
    assert timeline.headers["Atproto-Repo-Rev"] == liked["commit"]["rev"]
    assert profile.body["postsCount"] == 1

    await house.post(
        "com.atproto.repo.deleteRecord",
        {"repo": alice.did, "collection": "app.bsky.feed.like", "rkey": liked["uri"].rsplit("/")[-1]},
        alice.auth,
    )
    timeline = await house.get("app.bsky.feed.getTimeline", alice.auth)

    assert timeline.body["feed"][0]["post"]["likeCount"] == 0
    assert "like" not in timeline.body["feed"][0]["post"]["viewer"]


async def test_a_timeline_is_somebody_s(house):
    assert (await house.get("app.bsky.feed.getTimeline")).error == (401, "AuthMissing")
    assert (await house.get("app.bsky.graph.getBlocks")).error == (401, "AuthMissing")


async def test_a_public_answer_needs_nobody(house):
    alice = await house.join("alice")
    post = await house.say(alice, "hello")
    await house.get("app.bsky.actor.getProfile", alice.auth, actor=alice.did)

    feed = await house.get("app.bsky.feed.getAuthorFeed", actor="alice.test")

    assert [item["post"]["uri"] for item in feed.body["feed"]] == [post["uri"]]
    assert (await house.get("app.bsky.actor.getProfile", actor="nobody.test")).error == (400, "InvalidRequest")
    assert (await house.get("app.bsky.feed.getAuthorFeed", actor="alice.test", cursor="?")).error == (
        400,
        "InvalidRequest",
    )


async def test_an_image_is_served_where_the_profile_says(house):
    alice = await house.join("alice")
    blob = await upload(house, alice, PNG, "image/png")
    await house.create(alice, "app.bsky.actor.profile", {"displayName": "Alice", "avatar": blob}, rkey="self")
    profile = await house.get("app.bsky.actor.getProfile", alice.auth, actor=alice.did)
    url = profile.body["avatar"]
    base, path = url[: url.index("/img/")], url[url.index("/img/") :]

    assert base
    for suffix in ("", "@jpeg"):
        async with house.session.get(house.network.addresses["xrpc"] + path + suffix) as response:
            assert response.status == 200
            assert await response.read() == PNG
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
            assert response.content_type == "image/png"


@pytest.mark.parametrize(
    "path", ["/img/", "/img/avatar/plain/x/y", "/img/huge/plain/{did}/{cid}", "/img/avatar/plain/{did}/{text}"]
)
async def test_what_is_no_image_is_not_served(house, path):
    alice = await house.join("alice")
    blob = await upload(house, alice, PNG, "image/png")
    text = await upload(house, alice, b"<script>", "text/html")
    refs = {"cid": blob["ref"]["$link"], "text": text["ref"]["$link"]}
    await house.create(alice, "com.example.thing", {"image": blob, "text": text})
    address = house.network.addresses["xrpc"] + path.format(did=alice.did, **refs)

    async with house.session.get(address) as response:
        assert response.status == 404
