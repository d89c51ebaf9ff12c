"""Real answers, reduced to the form in which the model says them: what is about state, without what is only form.

Every reduction names what it takes; what it leaves out (image addresses) is other tests' business.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def account(view: Json, *names: str) -> Json:
    said = {name: view[name] for name in ("did", "handle", "displayName", "createdAt", *names) if name in view}
    if "viewer" in view:
        known = ("muted", "mutedOnlyReposts", "mutedOnlyQuoteposts", "blockedBy", "blocking", "following", "followedBy")
        said["viewer"] = {name: view["viewer"][name] for name in known if name in view["viewer"]}
    return said


def profile(view: Json) -> Json:
    return account(view, "description", "indexedAt")


def detailed(view: Json) -> Json:
    counts = ("followersCount", "followsCount", "postsCount")
    said = account(view, "description", "indexedAt", *counts)
    if "pinnedPost" in view:
        said["pinnedPost"] = view["pinnedPost"]["uri"]
    return said


def post(view: Json) -> Json:
    said = {name: view[name] for name in ("uri", "cid", "record", "indexedAt", *_COUNTS)}
    said["author"] = account(view["author"])
    said["labels"] = [label["val"] for label in view["labels"]]
    if "viewer" in view:
        said["viewer"] = {name: view["viewer"][name] for name in _STATE if name in view["viewer"]}
    if "threadgate" in view:
        said["threadgate"] = {name: view["threadgate"][name] for name in ("uri", "cid", "record")}
    if "embed" in view:
        said["embed"] = embed(view["embed"])
    return said


def embed(view: Json) -> Json:
    kind = view["$type"]
    if kind == "app.bsky.embed.images#view":
        return {"kind": "images"}
    if kind == "app.bsky.embed.record#view":
        return {"kind": "quote", "record": quote(view["record"])}
    assert kind == "app.bsky.embed.recordWithMedia#view", kind
    assert view["media"]["$type"] == "app.bsky.embed.images#view"
    return {"kind": "both", "record": quote(view["record"]["record"])}


def quote(view: Json) -> Json:
    kind = view["$type"].partition("#")[2]
    if kind == "viewNotFound":
        return {"absent": view["uri"]}
    if kind == "viewBlocked":
        return {"blocked": view["uri"]}
    if kind == "viewDetached":
        return {"detached": view["uri"]}
    assert kind == "viewRecord", kind
    said = post({**view, "record": view["value"]})
    if "embeds" in view:
        said["embeds"] = [embed(inner) for inner in view["embeds"]]
    return said


def member(view: Json) -> Json:
    """A post, or what stands in its place."""
    kind = view["$type"].partition("#")[2]
    if kind == "notFoundPost":
        return {"absent": view["uri"]}
    return {"blocked": view["uri"]} if kind == "blockedPost" else {"post": post(view)}


def item(view: Json) -> Json:
    said: Json = {"post": post(view["post"])}
    if "reply" in view:
        reply = view["reply"]
        said["reply"] = {"parent": member(reply["parent"]), "root": member(reply["root"])}
        if "grandparentAuthor" in reply:
            said["reply"]["grandparentAuthor"] = account(reply["grandparentAuthor"])
    reason = view.get("reason")
    if reason is not None and reason["$type"].endswith("#reasonPin"):
        said["pin"] = True
    elif reason is not None:
        said |= {"by": account(reason["by"]), "repost": reason["uri"], "repostedAt": reason["indexedAt"]}
    return said


def thread(view: Json) -> Json:
    kind = view["$type"].partition("#")[2]
    if kind != "threadViewPost":
        return {"absent" if kind == "notFoundPost" else "blocked": view["uri"]}
    said: Json = {"post": post(view["post"])}
    if "parent" in view:
        said["parent"] = thread(view["parent"])
    if "replies" in view:
        said["replies"] = [thread(reply) for reply in view["replies"]]
    like = view.get("threadContext", {}).get("rootAuthorLike")
    if like is not None:
        said["rootAuthorLike"] = like
    return said


def like(view: Json) -> Json:
    return {"actor": profile(view["actor"]), "createdAt": view["createdAt"], "indexedAt": view["indexedAt"]}


def bookmark(view: Json) -> Json:
    return {**view["subject"], "createdAt": view["createdAt"], "item": member(view["item"])}


def relationship(view: Json) -> Json:
    return {name: value for name, value in view.items() if name != "$type"}


_STATE = ("bookmarked", "threadMuted", "like", "repost", "pinned", "replyDisabled", "embeddingDisabled")
_COUNTS = ("likeCount", "repostCount", "replyCount", "quoteCount")
