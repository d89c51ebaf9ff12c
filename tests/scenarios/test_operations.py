"""Mutes, bookmarks and muted threads from the call to the next answer, over HTTP, in one process."""

from __future__ import annotations

GRAPH, BOOKMARK = "app.bsky.graph.", "app.bsky.bookmark."


async def test_a_mute_is_in_the_next_answer_and_an_unmute_too(house):
    alice, bob = await house.join("alice"), await house.join("bob")
    created = "2026-01-01T00:00:00.000Z"
    await house.create(alice, "app.bsky.graph.follow", {"subject": bob.did, "createdAt": created})
    await house.say(bob, "hello")

    async def listed():
        timeline = await house.get("app.bsky.feed.getTimeline", alice.auth)
        mutes = await house.get(GRAPH + "getMutes", alice.auth)
        return len(timeline.body["feed"]), [each["did"] for each in mutes.body["mutes"]]

    for _ in range(3):
        assert (await house.post(GRAPH + "muteActor", {"actor": "bob.test"}, alice.auth)).status == 200
        assert await listed() == (0, [bob.did])
        assert (await house.post(GRAPH + "unmuteActor", {"actor": bob.did}, alice.auth)).status == 200
        assert await listed() == (1, [])


async def test_a_bookmark_and_a_muted_thread_are_in_the_next_answer(house):
    alice, bob = await house.join("alice"), await house.join("bob")
    post = await house.say(bob, "hello")
    at_handle = post["uri"].replace(bob.did, "bob.test")
    strong = {"uri": at_handle, "cid": post["cid"]}

    assert (await house.post(BOOKMARK + "createBookmark", strong, alice.auth)).status == 200
    assert (await house.post(GRAPH + "muteThread", {"root": at_handle}, alice.auth)).status == 200
    kept = await house.get(BOOKMARK + "getBookmarks", alice.auth)
    (seen,) = (await house.get("app.bsky.feed.getPosts", alice.auth, uris=post["uri"])).body["posts"]

    (bookmark,) = kept.body["bookmarks"]
    assert bookmark["subject"] == {"uri": post["uri"], "cid": post["cid"]}
    assert bookmark["item"]["uri"] == post["uri"]
    assert (seen["viewer"]["bookmarked"], seen["viewer"]["threadMuted"]) == (True, True)

    await house.post(BOOKMARK + "deleteBookmark", {"uri": post["uri"]}, alice.auth)
    await house.post(GRAPH + "unmuteThread", {"root": post["uri"]}, alice.auth)
    (seen,) = (await house.get("app.bsky.feed.getPosts", alice.auth, uris=post["uri"])).body["posts"]

    assert (await house.get(BOOKMARK + "getBookmarks", alice.auth)).body["bookmarks"] == []
    assert (seen["viewer"]["bookmarked"], seen["viewer"]["threadMuted"]) == (False, False)


async def test_what_cannot_be_set_is_refused_by_name(house):
    alice = await house.join("alice")
    like = f"at://{alice.did}/app.bsky.feed.like/3l3qo2vutsw2b"
    cid = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"

    async def error(nsid, body, auth=alice.auth):
        return (await house.post(nsid, body, auth)).error

    assert await error(GRAPH + "muteActor", {"actor": "nobody.test"}) == (400, "InvalidRequest")
    assert await error(GRAPH + "muteActor", {"actor": "alice.test"}) == (400, "InvalidRequest")
    assert await error(GRAPH + "unmuteActor", {"actor": alice.did}) == (400, "InvalidRequest")
    assert await error(BOOKMARK + "createBookmark", {"uri": like, "cid": cid}) == (400, "UnsupportedCollection")
    assert await error(BOOKMARK + "deleteBookmark", {"uri": like}) == (400, "UnsupportedCollection")
    assert await error(GRAPH + "muteActor", {"actor": "bob.test"}, None) == (401, "AuthMissing")


async def test_what_is_set_is_in_no_repo(house):
    alice, bob = await house.join("alice"), await house.join("bob")
    before = await house.get("com.atproto.sync.getLatestCommit", did=alice.did)

    await house.post(GRAPH + "muteActor", {"actor": bob.did}, alice.auth)

    assert (await house.get(GRAPH + "getMutes", alice.auth)).body["mutes"]
    assert (await house.get("com.atproto.sync.getLatestCommit", did=alice.did)).body == before.body
