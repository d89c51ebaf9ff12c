"""What each endpoint must answer to a viewer, from the frozen model alone; in the form `tests/oracle/seen.py` reduces
real answers to.

Rules that are read here from the reference (packages/bsky/src/views/index.ts): states hide accounts, blocks between
viewer and author hide posts, blocks between third parties hide the relation. Order is that of the tables: newest
first, then URI, then reposter. Does not own paging: a list is whole.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.oracle.model import (
    POST,
    POSTGATE,
    PROFILE,
    THREADGATE,
    Frozen,
    Record,
    did_of,
    media,
    mentioned,
    parent_of,
    quoted,
    root_of,
)

Json = dict[str, Any]
FILTERS = (
    "posts_with_replies",
    "posts_no_replies",
    "posts_with_media",
    "posts_and_author_threads",
    "posts_with_video",
)
_IMAGES = "app.bsky.embed.images"


class Refusal(Exception):  # noqa: N818 - an expected answer
    """The endpoint refuses with this error name (and message, where it says something)."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class Answers:
    """`viewer` None is anonymous."""

    def __init__(self, frozen: Frozen, viewer: str | None) -> None:
        self.at = frozen
        self.viewer = viewer
        self._own: dict[str, dict[str, tuple[int, bytes]]] = {}

    # --- who and what may be shown ---

    def state(self, did: str) -> str | None:
        account = self.at.model.accounts.get(did)
        return None if account is None else account.state

    def shown(self, did: str) -> bool:
        return self.state(did) == "active"

    def post(self, uri: str) -> Record | None:
        post = self.at.posts.get(uri)
        if post is None or not self.shown(post.did) or uri in self.at.model.takedowns:
            return None
        return post

    def blocking(self, did: str) -> str | None:
        block = None if self.viewer in (None, did) else self.at.block_of.get((str(self.viewer), did))
        return None if block is None else block.uri

    def blocked_by(self, did: str) -> bool:
        return self.viewer not in (None, did) and (did, str(self.viewer)) in self.at.block_of

    def blocked(self, did: str) -> bool:
        return self.blocking(did) is not None or self.blocked_by(did)

    def third(self, one: str, other: str) -> bool:
        """Whether either of two accounts blocks the other."""
        return one != other and ((one, other) in self.at.block_of or (other, one) in self.at.block_of)

    # --- what the viewer has set ---

    def own(self, kind: str) -> dict[str, tuple[int, bytes]]:
        found = self._own.get(kind)
        if found is None:
            found = self._own[kind] = {} if self.viewer is None else self.at.model.own(self.viewer, kind)
        return found

    def mutes(self, did: str, part: int = 0) -> bool:
        """Whether all of an account is muted, or a part: 1 its reposts, 2 its quotes."""
        said = self.own("mute").get(did)
        return did != self.viewer and said is not None and (said[1][0] & part != 0 if part else said[1] == b"\0")

    def muted(self, post: Record, repost: Record | None) -> bool:
        """Whether a timeline leaves it out."""
        if self.mutes(post.did) or (self.mutes(post.did, 2) and quoted(post) is not None):
            return True
        return repost is not None and (self.mutes(repost.did) or self.mutes(repost.did, 1))

    def get_mutes(self) -> list[Json]:
        mutes = sorted((-time, did) for did, (time, value) in self.own("mute").items() if value == b"\0")
        return [self.view(did) for _, did in mutes if self.shown(did)]

    def get_bookmarks(self) -> list[Json]:
        found = []
        for time, uri in sorted(((time, uri) for uri, (time, _) in self.own("bookmark").items()), key=lambda b: -b[0]):
            view = {"uri": uri, "cid": self.own("bookmark")[uri][1].decode(), "createdAt": iso(time)}
            found.append(view | {"item": self.maybe(uri)})
        return found

    # --- accounts ---

    def basic(self, did: str) -> Json:
        account, profile = self.at.model.accounts[did], self.profile_of(did)
        view: Json = {"did": did, "handle": account.handle or "handle.invalid"}
        if profile is not None:
            if profile.value.get("displayName"):
                view["displayName"] = profile.value["displayName"]
            view["createdAt"] = iso(profile.sort_at)
        if self.viewer is not None:
            view["viewer"] = self.viewer_state(did)
        return view

    def profile_of(self, did: str) -> Record | None:
        profile = self.at.model.profile(did)
        return None if profile is None or profile.uri in self.at.model.takedowns else profile

    def viewer_state(self, did: str) -> Json:
        state: Json = {"muted": self.mutes(did), "blockedBy": self.blocked_by(did)}
        state |= {"mutedOnlyReposts": self.mutes(did, 1), "mutedOnlyQuoteposts": self.mutes(did, 2)}
        if did == self.viewer:
            return state
        blocking = self.blocking(did)
        if blocking is not None:
            state["blocking"] = blocking
        if not self.blocked(did):
            for name, pair in (("following", (self.viewer, did)), ("followedBy", (did, self.viewer))):
                follow = self.at.follow_of.get(pair)  # type: ignore[arg-type]
                if follow is not None:
                    state[name] = follow.uri
        return state

    def view(self, did: str) -> Json:
        profile = self.profile_of(did)
        view = self.basic(did)
        if profile is not None:
            if profile.value.get("description"):
                view["description"] = profile.value["description"]
            view["indexedAt"] = iso(profile.first_time)
        return view

    def detailed(self, did: str) -> Json:
        profile, at = self.profile_of(did), self.at
        view = self.view(did)
        view["followersCount"] = len(at.followers.get(did, ()))
        view["followsCount"] = len(at.following.get(did, ()))
        view["postsCount"] = len(at.posts_of.get(did, ()))
        if profile is not None and profile.value.get("pinnedPost"):
            view["pinnedPost"] = profile.value["pinnedPost"]["uri"]
        return view

    def did(self, actor: str) -> str | None:
        return actor if actor.startswith("did:") else self.at.model.by_handle(actor)

    def get_profile(self, actor: str) -> Json:
        did = self.did(actor)
        state = None if did is None else self.state(did)
        if did is None or state in (None, "deleted"):
            raise Refusal("InvalidRequest", "Profile not found")
        if state in ("takendown", "suspended"):
            raise Refusal("AccountTakedown")
        if state == "deactivated":
            raise Refusal("AccountDeactivated")
        return self.detailed(did)

    def get_profiles(self, actors: Iterable[str]) -> list[Json]:
        found = [did for actor in actors if (did := self.did(actor)) is not None and self.shown(did)]
        return [self.detailed(did) for did in found]

    # --- posts ---

    def post_view(self, post: Record, depth: int = 0) -> Json:
        at, uri = self.at, post.uri
        view: Json = {
            "uri": uri,
            "cid": post.cid,
            "record": post.value,
            "author": self.basic(post.did),
            "indexedAt": iso(post.first_time),
            "likeCount": len(at.likes_on.get(uri, ())),
            "repostCount": len(at.reposts_on.get(uri, ())),
            "replyCount": len(at.replies_to.get(uri, ())),
            "quoteCount": len(at.quotes_of.get(uri, ())),
            "labels": [label["val"] for label in (post.value.get("labels") or {}).get("values", ())],
        }
        if self.viewer is not None:
            mine = {"like": at.like_of.get((self.viewer, uri)), "repost": at.repost_of.get((self.viewer, uri))}
            view["viewer"] = {name: record.uri for name, record in mine.items() if record is not None}
            pin = self.pin_of(self.viewer) if post.did == self.viewer else None
            if pin is not None and f"at://{self.viewer}/{PROFILE}/self" not in at.model.takedowns:
                view["viewer"]["pinned"] = pin == uri
            view["viewer"]["bookmarked"] = uri in self.own("bookmark")
            view["viewer"]["threadMuted"] = (root_of(post) or uri) in self.own("threadmute")
            view["viewer"]["embeddingDisabled"] = post.did != self.viewer and self.closed_to_quotes(uri)
            disabled = self.reply_disabled(post)
            if disabled is not None:
                view["viewer"]["replyDisabled"] = disabled
        gate = at.model.gate(uri, THREADGATE)
        if gate is not None and root_of(post) is None:
            view["threadgate"] = {"uri": gate.uri, "cid": gate.cid, "record": gate.value}
        embed = self.embed(post, depth + 1) if depth < 2 else None
        if embed is not None:
            view["embed"] = embed
        return view

    def embed(self, post: Record, depth: int) -> Json | None:
        shown, quote = media(post), quoted(post)
        if quote is None:
            return None if shown is None else {"kind": "images"}
        record = self.quote(post, quote, depth)
        return {"kind": "quote", "record": record} if shown is None else {"kind": "both", "record": record}

    def quote(self, post: Record, uri: str, depth: int) -> Json:
        if self.blocked(did_of(uri)) or self.third(post.did, did_of(uri)):
            return {"blocked": uri}
        gate = self.at.model.gate(uri, POSTGATE)
        later = gate is not None and post.first_time >= gate.sort_at
        if later and did_of(uri) != post.did and self.closed_to_quotes(uri):
            return {"detached": uri}
        quoted_post = self.post(uri)
        if quoted_post is None:
            return {"absent": uri}
        if gate is not None and post.uri in gate.value.get("detachedEmbeddingUris", ()):
            return {"detached": uri}
        view = self.post_view(quoted_post, depth)
        view.pop("viewer", None)
        view.pop("threadgate", None)
        inner = view.pop("embed", None)
        if depth <= 1:
            view["embeds"] = [] if inner is None else [inner]
        return view

    # --- gates ---

    def closed_to_quotes(self, uri: str) -> bool:
        gate = self.at.model.gate(uri, POSTGATE)
        rules = [] if gate is None else gate.value.get("embeddingRules", [])
        return any(rule["$type"] == "app.bsky.feed.postgate#disableRule" for rule in rules)

    def may_answer(self, did: str, root: str) -> bool:
        """Whether the gate of a thread lets somebody in, as everything stands now."""
        gate, owner = self.at.model.gate(root, THREADGATE), did_of(root)
        if gate is None or "allow" not in gate.value or did == owner:
            return True
        post = self.at.posts.get(root)
        follows = self.at.follow_of
        for rule in gate.value["allow"]:
            kind = rule["$type"].partition("#")[2]
            if kind == "mentionRule" and post is not None and did in mentioned(post):
                return True
            if kind == "followingRule" and (owner, did) in follows:
                return True
            if kind == "followerRule" and (did, owner) in follows:
                return True
        return False

    def violates(self, post: Record) -> bool:
        """Whether a reply came after the gate, from somebody whom it does not let in."""
        root = root_of(post)
        gate = None if root is None else self.at.model.gate(root, THREADGATE)
        if gate is None or post.first_time < gate.sort_at:
            return False
        return not self.may_answer(post.did, str(root))

    def reply_disabled(self, post: Record) -> bool | None:
        root = root_of(post) or post.uri
        if self.viewer is None or self.at.model.gate(root, THREADGATE) is None:
            return None
        return self.violates(post) or not self.may_answer(self.viewer, root)

    def get_posts(self, uris: Iterable[str]) -> list[Json]:
        posts = [post for uri in dict.fromkeys(uris) if (post := self.post(uri)) is not None]
        return [self.post_view(post) for post in posts if not self.blocked(post.did)]

    # --- feeds ---

    def item(self, post: Record, repost: Record | None = None) -> Json:
        view: Json = {"post": self.post_view(post)}
        reply = self.reply(post)
        if reply is not None:
            view["reply"] = reply
        if repost is not None:
            view["by"] = self.basic(repost.did)
            view["repost"] = repost.uri
            view["repostedAt"] = iso(repost.first_time)
        return view

    def reply(self, post: Record) -> Json | None:
        if "reply" not in post.value or self.violates(post):
            return None
        above, top = str(parent_of(post)), str(root_of(post))
        parent, root = self.maybe(above), self.maybe(top)
        parent_post = self.post(above)
        if "post" in parent and self.third(post.did, did_of(above)):
            parent = {"blocked": above}
        over = parent_post is not None and root_of(parent_post) is not None
        if "post" in root and (
            self.third(post.did, did_of(top)) or (over and self.third(did_of(above), did_of(str(root_of(parent_post)))))  # type: ignore[arg-type]
        ):
            root = {"blocked": top}
        view = {"parent": parent, "root": root}
        if "post" in parent and parent_post is not None and parent_post.value.get("reply"):
            grandparent = did_of(str(parent_of(parent_post)))
            if self.shown(grandparent):
                view["grandparentAuthor"] = self.basic(grandparent)
        return view

    def maybe(self, uri: str) -> Json:
        post = self.post(uri)
        if post is None:
            return {"absent": uri}
        return {"blocked": uri} if self.blocked(post.did) else {"post": self.post_view(post)}

    def may_stand(self, uri: str, repost: Record | None) -> bool:
        """Whether a feed may hold it at all."""
        post = self.post(uri)
        who = did_of(uri) if repost is None else repost.did
        if repost is not None and (not self.shown(who) or repost.uri in self.at.model.takedowns):
            return False
        return post is not None and not self.blocked(post.did) and not self.blocked(who)

    def beside_ancestors(self, post: Record) -> bool:
        """No author of the two posts above it is blocked."""
        above = parent_of(post)
        if above is None:
            return True
        parent = self.at.posts.get(above)
        over = None if parent is None else parent_of(parent)
        return not self.blocked(did_of(above)) and (over is None or not self.blocked(did_of(over)))

    def author_rows(self, did: str) -> list[tuple[str, Record | None]]:
        """(URI, repost): what an account posted and reposted, there or not, newest first."""
        found: list[tuple[tuple[int, str, str], str, Record | None]] = [
            ((-post.sort_at, post.uri, ""), post.uri, None) for post in self.at.posts_of.get(did, ())
        ]
        found += [
            ((-repost.sort_at, repost.subject, repost.did), repost.subject, repost)
            for repost in self.at.reposts_of.get(did, ())
        ]
        return [(uri, repost) for _, uri, repost in sorted(found, key=lambda row: row[0])]

    def brought_by(self, did: str) -> list[tuple[Record, Record | None]]:
        rows = self.author_rows(did)
        return [(self.at.posts[uri], repost) for uri, repost in rows if uri in self.at.posts]

    def fan_in(self) -> list[tuple[Record, Record | None]]:
        """All that the viewer and everybody the viewer follows brought."""
        viewer = str(self.viewer)
        brings = {viewer, *(follow.subject for follow in self.at.following.get(viewer, ()))}
        return sorted((pair for did in brings for pair in self.brought_by(did)), key=_newest)

    def timeline_places(self) -> list[tuple[int, str, str]]:
        """(sort_at, URI, reposter) of everything in the timeline, before rules of blocks and states."""
        return [(-at, uri, reposter) for at, uri, reposter in map(_newest, self.fan_in())]

    def get_timeline(self) -> list[Json]:
        return [
            self.item(post, repost)
            for post, repost in self.fan_in()
            if self.may_stand(post.uri, repost) and self.beside_ancestors(post) and not self.muted(post, repost)
        ]

    def get_author_feed(self, actor: str, which: str, limit: int, pins: bool) -> list[Json]:  # noqa: FBT001
        """All pages of `limit`, one after the other: which replies are among threads depends on the page."""
        did = self.did(actor)
        if did is None or not self.shown(did):
            raise Refusal("InvalidRequest", "Profile not found")
        if self.blocking(did) is not None:
            raise Refusal("BlockedActor")
        if self.blocked_by(did):
            raise Refusal("BlockedByActor")
        rows = [row for row in self.author_rows(did) if self.passes(*row, which)]
        pin = self.pin_of(did) if pins else None
        found = []
        for start in range(0, max(len(rows), 1), limit):
            page = rows[start : start + limit]
            pinned = pin if start == 0 else None
            if pinned is not None:
                page = [row for row in page if row[0] != pinned]
            own = {uri for uri, repost in page if repost is None} | {pinned}
            if pinned is not None and self.may_stand(pinned, None):
                found.append({**self.item(self.at.posts[pinned]), "pin": True})
            for uri, repost in page:
                in_thread = which != "posts_and_author_threads" or repost is not None or self.own_thread(uri, own)
                if repost is not None and self.mutes(did_of(uri)) and not self.mutes(did):
                    continue
                if in_thread and self.may_stand(uri, repost):
                    found.append(self.item(self.at.posts[uri], repost))
        return found

    def passes(self, uri: str, repost: Record | None, which: str) -> bool:
        if repost is not None:
            return which in ("posts_with_replies", "posts_no_replies", "posts_and_author_threads")
        post = self.at.posts[uri]
        if which == "posts_with_media":
            return media(post) == _IMAGES
        if which == "posts_with_video":
            return media(post) == "app.bsky.embed.video"
        root = root_of(post)
        if which == "posts_with_replies" or root is None:
            return True
        return which == "posts_and_author_threads" and did_of(root) == post.did

    def pin_of(self, did: str) -> str | None:
        """The account's own post that its profile pins."""
        profile = self.at.model.profile(did)
        uri = (profile.value.get("pinnedPost") or {"uri": ""})["uri"] if profile is not None else ""
        return uri if uri.startswith(f"at://{did}/{POST}/") else None

    def own_thread(self, uri: str, page: set[str | None]) -> bool:
        """Whether the post and all above it, up to the root, are on the page as the author's own."""
        seen: set[str] = set()
        at: str | None = uri
        while at is not None:
            if at in seen or at not in page or self.post(at) is None:
                return False
            seen.add(at)
            at = parent_of(self.at.posts[at])
        return True

    # --- threads ---

    def get_post_thread(self, uri: str, depth: int = 6, height: int = 80) -> Json:
        post = self.post(uri)
        if post is None:
            raise Refusal("NotFound")
        if self.blocked(post.did):
            return {"blocked": uri}
        root = root_of(post) or uri
        way_up = self.way_up(post, height)
        view = self.in_thread(post, root)
        if self.violates(post):
            return view
        parent = self.above(post, root, way_up)
        if parent is not None:
            view["parent"] = parent
        if depth > 0:
            # Replies can answer one another in a circle: nobody stands above and below at once.
            view["replies"] = self.below(post, root, depth, {uri, *way_up})
        return view

    def in_thread(self, post: Record, root: str) -> Json:
        view: Json = {"post": self.post_view(post)}
        like = self.at.like_of.get((did_of(root), post.uri))
        if like is not None:
            view["rootAuthorLike"] = like.uri
        return view

    def way_up(self, post: Record, height: int) -> list[str]:
        found: list[str] = []
        uri = parent_of(post)
        while uri is not None and uri not in found and len(found) < height:
            found.append(uri)
            uri = parent_of(self.at.posts[uri]) if uri in self.at.posts else None
        return found

    def above(self, child: Record, root: str, way_up: list[str]) -> Json | None:
        if not way_up:
            return None
        uri, further = way_up[0], way_up[1:]
        if self.third(child.did, did_of(uri)):
            return {"blocked": uri}
        post = self.post(uri)
        if post is None:
            return {"absent": uri}
        if (root_of(post) or uri) != root:
            return None
        if self.blocked(post.did):
            return {"blocked": uri}
        view = self.in_thread(post, root)
        parent = self.above(post, root, further)
        if parent is not None:
            view["parent"] = parent
        return view

    def below(self, parent: Record, root: str, depth: int, seen: set[str]) -> list[Json]:
        views: list[Json] = []
        replies = [post for post in self.at.replies_to.get(parent.uri, ()) if root_of(post) == root]
        for post in sorted(replies, key=lambda post: (-post.sort_at, post.uri)):
            if post.uri in seen or self.third(post.did, parent.did) or self.post(post.uri) is None:
                continue
            if self.violates(post):
                continue
            if self.blocked(post.did):
                views.append({"blocked": post.uri})
                continue
            view = self.in_thread(post, root)
            if depth > 1:
                view["replies"] = self.below(post, root, depth - 1, seen)
            views.append(view)
        return views

    # --- lists ---

    def get_likes(self, uri: str) -> list[Json]:
        likes = sorted(self.at.likes_on.get(uri, ()), key=lambda like: (-like.sort_at, like.did))
        return [
            {"actor": self.view(like.did), "createdAt": iso(like.created), "indexedAt": iso(like.first_time)}
            for like in likes
            if self.may_list(like.did, did_of(uri)) and like.uri not in self.at.model.takedowns
        ]

    def get_reposted_by(self, uri: str) -> list[Json]:
        reposts = sorted(self.at.reposts_on.get(uri, ()), key=lambda repost: (-repost.sort_at, repost.did))
        return [
            self.view(repost.did)
            for repost in reposts
            if self.may_list(repost.did, did_of(uri)) and repost.uri not in self.at.model.takedowns
        ]

    def get_quotes(self, uri: str) -> list[Json]:
        quotes = sorted(self.at.quotes_of.get(uri, ()), key=lambda post: (-post.sort_at, post.did, post.uri))
        there = [post for post in quotes if self.post(post.uri) is not None]
        return [self.post_view(post) for post in there if self.may_list(post.did, did_of(uri))]

    def may_list(self, did: str, subject: str | None = None) -> bool:
        """Shown, and no block between it and the viewer, nor the account that the list is about."""
        return self.shown(did) and not self.blocked(did) and (subject is None or not self.third(did, subject))

    def search(self, query: str) -> set[str]:
        """Whose handle begins with the query, or whose name has a word that does: `query` is one word, casefolded."""
        return {did for did in self.at.model.accounts if self.may_list(did) and self.is_called(did, query)}

    def is_called(self, did: str, query: str) -> bool:
        profile = self.at.model.profile(did)
        name = "" if profile is None else profile.value.get("displayName", "")
        words = unicodedata.normalize("NFKC", name).casefold().split()
        handle = self.at.model.accounts[did].handle or ""
        return handle.startswith(query) or any(word.startswith(query) for word in words)

    def subject(self, actor: str) -> str:
        did = self.did(actor)
        if did is None or not self.shown(did):
            raise Refusal("InvalidRequest", "Actor not found")
        return did

    def get_followers(self, actor: str) -> list[Json]:
        did = self.subject(actor)
        follows = sorted(self.at.followers.get(did, ()), key=lambda follow: (-follow.sort_at, follow.did))
        down = self.at.model.takedowns
        return [self.view(who.did) for who in follows if self.may_list(who.did, did) and who.uri not in down]

    def get_follows(self, actor: str) -> list[Json]:
        did = self.subject(actor)
        follows = sorted(self.at.following.get(did, ()), key=lambda follow: (-follow.sort_at, follow.subject))
        whom = [follow.subject for follow in follows if follow.uri not in self.at.model.takedowns]
        return [self.view(other) for other in whom if self.may_list(other, did)]

    def get_blocks(self) -> list[Json]:
        mine = [block for block in self.at.blocks if block.did == self.viewer]
        mine.sort(key=lambda block: (-block.sort_at, block.subject))
        return [self.view(block.subject) for block in mine if self.shown(block.subject)]

    def get_relationships(self, actor: str, others: Iterable[str]) -> list[Json]:
        views: list[Json] = []
        for other in others:
            view: Json = {"did": other}
            if other == actor:
                views.append(view)
                continue
            follow, back = self.at.follow_of.get((actor, other)), self.at.follow_of.get((other, actor))
            block, blocked = self.at.block_of.get((actor, other)), self.at.block_of.get((other, actor))
            for name, record in (
                ("following", follow),
                ("followedBy", back),
                ("blocking", block),
                ("blockedBy", blocked),
            ):
                if record is not None:
                    view[name] = record.uri
            views.append(view)
        return views


def _newest(pair: tuple[Record, Record | None]) -> tuple[int, str, str]:
    post, repost = pair
    return (-post.sort_at, post.uri, "") if repost is None else (-repost.sort_at, post.uri, repost.did)


def iso(micros: int) -> str:
    """Milliseconds and Z, as answers say moments; a year 0 is a year before Python's first."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
