"""The whole story through the Python SDK (PyPI `atproto`).

Usage: story.py SERVICE_URL IMAGE_FILE PLC_URL OPS_URL [OPS_URL_OF_THE_APPVIEW].

Prints one line a step; an AssertionError ends it.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from atproto import (
    CAR,
    AtUri,
    Client,
    FirehoseSubscribeReposClient,
    IdResolver,
    client_utils,
    models,
    parse_subscribe_repos_message,
)
from atproto.exceptions import AtProtocolError

service, image_file, plc, ops, *appview_ops = sys.argv[1:]
image = Path(image_file).read_bytes()


def step(text: str) -> None:
    print(f"ok {text}", flush=True)


def settled() -> None:
    """A writer sees its own write at once; before somebody else looks, the views have to have passed it.

    And an AppView of a cluster must show nothing from before.
    """
    while json.load(urlopen(f"{ops}/status"))["views"]["behind"] > 0:
        pass
    held = time.time()
    while appview_ops and json.load(urlopen(f"{appview_ops[0]}/status"))["shows_since"] < held:
        pass


def join(name: str) -> Client:
    client = Client(base_url=f"{service}/xrpc")
    client.com.atproto.server.create_account(
        {"handle": f"{name}.test", "email": f"{name}@example.com", "password": f"{name}-password"}
    )
    client.login(f"{name}.test", f"{name}-password")
    return client


def refused(call: object, *args: object, **kwargs: object) -> bool:
    try:
        call(*args, **kwargs)  # type: ignore[operator]
    except AtProtocolError:
        return True
    return False


alice, bob, carol = join("py-alice"), join("py-bob"), join("py-carol")
assert alice.me is not None
assert bob.me is not None
assert carol.me is not None
step("three accounts")

resolver = IdResolver(plc_url=plc)
document = resolver.did.resolve(alice.me.did)
assert document is not None
assert document.also_known_as == ["at://py-alice.test"]
assert urlsplit(document.get_pds_endpoint() or "").port == urlsplit(service).port
step("the DID document in the directory")

avatar = alice.upload_blob(image).blob
alice.com.atproto.repo.put_record(
    {
        "repo": alice.me.did,
        "collection": "app.bsky.actor.profile",
        "rkey": "self",
        "record": {"$type": "app.bsky.actor.profile", "displayName": "Alice", "avatar": avatar},
    }
)
settled()
assert bob.get_profile(alice.me.did).display_name == "Alice"
assert bob.get_profile("py-alice.test").avatar is not None
step("a profile with an avatar")

bob.follow(alice.me.did)
follow = carol.follow(alice.me.did)
settled()
assert carol.get_profile(alice.me.did).followers_count == 2
assert {f.handle for f in alice.get_followers(alice.me.did).followers} == {"py-bob.test", "py-carol.test"}
step("follows")

text = client_utils.TextBuilder().text("Hello ").mention("bob", bob.me.did).tag("#river", "river")
post = alice.send_image(text, image, image_alt="a key")
reference = models.create_strong_ref(post)
reply = bob.send_post("hello yourself", reply_to=models.AppBskyFeedPost.ReplyRef(parent=reference, root=reference))
like = bob.like(post.uri, post.cid)
carol.like(post.uri, post.cid)
repost = carol.repost(post.uri, post.cid)
settled()
thread = carol.get_post_thread(post.uri).thread
assert thread.post.like_count == 2
assert thread.post.repost_count == 1
assert thread.post.reply_count == 1
assert thread.post.viewer.like is not None
assert thread.replies[0].post.uri == reply.uri
step("a post with an image, a reply, likes and a repost, and the thread")

assert [item.post.uri for item in bob.get_timeline().feed] == [reply.uri, post.uri]
assert bob.get_timeline().feed[1].post.embed.images[0].alt == "a key"
assert len(carol.get_timeline(limit=1).feed) == 1
assert {like.actor.did for like in alice.get_likes(post.uri).likes} == {bob.me.did, carol.me.did}
assert alice.get_reposted_by(post.uri).reposted_by[0].did == carol.me.did
assert [item.post.uri for item in carol.get_author_feed(alice.me.did).feed] == [post.uri]
step("timelines, likes, reposts and feeds")

block = alice.app.bsky.graph.block.create(
    alice.me.did,
    models.AppBskyGraphBlock.Record(subject=carol.me.did, created_at=datetime.now(UTC).isoformat()),
)
settled()
assert carol.get_profile(alice.me.did).viewer.blocked_by
assert not [item for item in carol.get_timeline().feed if item.post.author.did == alice.me.did]
alice.app.bsky.graph.block.delete(alice.me.did, AtUri.from_str(block.uri).rkey)
settled()
assert [item for item in carol.get_timeline().feed if item.post.author.did == alice.me.did]
step("a block hides, and lifting it restores")

bob.unlike(like.uri)
carol.unrepost(repost.uri)
carol.unfollow(follow.uri)
settled()
counted = carol.get_posts([post.uri]).posts[0]
assert (counted.like_count, counted.repost_count) == (1, 0)
assert alice.get_profile(alice.me.did).followers_count == 1
step("undone likes, reposts and follows are gone from the counts")

bob.delete_post(reply.uri)
alice.delete_post(post.uri)
settled()
assert refused(carol.get_post_thread, post.uri)
assert bob.get_timeline().feed == []
step("deleted posts are gone")

car = CAR.from_bytes(alice.com.atproto.sync.get_repo({"did": alice.me.did}))
assert len(car.blocks) >= 3
step("the repo as a CAR")

seen: list[str] = []
firehose = FirehoseSubscribeReposClient(
    params=models.ComAtprotoSyncSubscribeRepos.Params(cursor=0), base_uri=f"{service.replace('http', 'ws')}/xrpc"
)


def on_message(message: object) -> None:
    parsed = parse_subscribe_repos_message(message)  # type: ignore[arg-type]
    if isinstance(parsed, models.ComAtprotoSyncSubscribeRepos.Commit):
        seen.extend(op.action for op in parsed.ops)
        if {"create", "delete"} <= set(seen) and len(seen) > 12:
            firehose.stop()


firehose.start(on_message)
assert "delete" in seen
step("the firehose from the start")

bob.com.atproto.server.deactivate_account({})
settled()
assert refused(alice.get_profile, bob.me.did)
bob.com.atproto.server.activate_account()
settled()
assert alice.get_profile(bob.me.did).handle == "py-bob.test"
step("a deactivated account is hidden, and comes back")
