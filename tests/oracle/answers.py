"""What each endpoint must answer to a viewer, from the frozen model alone; in the form `tests/oracle/seen.py` reduces
real answers to.

Rules that are read here from the reference (packages/bsky/src/views/index.ts): states hide accounts, blocks between
viewer and author hide posts, blocks between third parties hide the relation. Order is that of the tables: newest
first, then URI, then reposter. Does not own paging: a list is whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.oracle.model import Frozen, Record, did_of, media, parent_of, quoted, root_of

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
        if did == self.viewer:
            return {"blockedBy": False}
        state: Json = {"blockedBy": self.blocked_by(did)}
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
        quoted_post = self.post(uri)
        if quoted_post is None:
            return {"absent": uri}
        view = self.post_view(quoted_post, depth)
        view.pop("viewer", None)
        inner = view.pop("embed", None)
        if depth <= 1:
            view["embeds"] = [] if inner is None else [inner]
        return view

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
        if "reply" not in post.value:
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
                view["grandparentAuthor"] = {"did": grandparent}
        return view

    def maybe(self, uri: str) -> Json:
        post = self.post(uri)
        if post is None:
            return {"absent": uri}
        return {"blocked": uri} if self.blocked(post.did) else {"post": self.post_view(post)}

    def may_stand(self, post: Record, repost: Record | None) -> bool:
        """Whether a feed may hold it at all."""
        who = post.did if repost is None else repost.did
        if repost is not None and (not self.shown(who) or repost.uri in self.at.model.takedowns):
            return False
        return self.post(post.uri) is not None and not self.blocked(post.did) and not self.blocked(who)

    def beside_ancestors(self, post: Record) -> bool:
        """No author of the two posts above it is blocked."""
        above = parent_of(post)
        if above is None:
            return True
        parent = self.post(above)
        over = None if parent is None else parent_of(parent)
        return not self.blocked(did_of(above)) and (over is None or not self.blocked(did_of(over)))

    def brought_by(self, did: str) -> list[tuple[Record, Record | None]]:
        """(post, repost): what an account posted and reposted, newest first."""
        found: list[tuple[Record, Record | None]] = [(post, None) for post in self.at.posts_of.get(did, ())]
        found += [
            (self.at.posts[repost.subject], repost)
            for repost in self.at.reposts_of.get(did, ())
            if repost.subject in self.at.posts
        ]
        return sorted(found, key=_newest)

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
            if self.may_stand(post, repost) and self.beside_ancestors(post)
        ]

    def get_author_feed(self, actor: str, which: str) -> list[Json]:
        did = self.did(actor)
        if did is None or not self.shown(did):
            raise Refusal("InvalidRequest", "Profile not found")
        if self.blocking(did) is not None:
            raise Refusal("BlockedActor")
        if self.blocked_by(did):
            raise Refusal("BlockedByActor")
        found = [
            (post, repost)
            for post, repost in self.brought_by(did)
            if self.passes(post, repost, which) and self.may_stand(post, repost)
        ]
        return [self.item(post, repost) for post, repost in found]

    def passes(self, post: Record, repost: Record | None, which: str) -> bool:
        if which == "posts_with_media":
            return repost is None and media(post) == _IMAGES
        if which == "posts_with_video":
            return repost is None and media(post) == "app.bsky.embed.video"
        if repost is not None or which == "posts_with_replies" or parent_of(post) is None:
            return True
        return which == "posts_and_author_threads" and self.own_thread(post)

    def own_thread(self, post: Record) -> bool:
        """A reply stands among its author's threads if everything above it, up to the root, is the author's."""
        seen = set()
        at: Record | None = post
        while at is not None and at.uri not in seen:
            seen.add(at.uri)
            above = parent_of(at)
            if above is None:
                return True
            root = root_of(at)
            if root is None or did_of(root) != post.did or did_of(above) != post.did:
                return False
            at = self.post(above)
        return False

    # --- threads ---

    def get_post_thread(self, uri: str, depth: int = 6, height: int = 80) -> Json:
        post = self.post(uri)
        if post is None:
            raise Refusal("NotFound")
        if self.blocked(post.did):
            return {"blocked": uri}
        root = root_of(post) or uri
        view: Json = {"post": self.post_view(post)}
        parent = self.above(post, root, height)
        if parent is not None:
            view["parent"] = parent
        if depth > 0:
            view["replies"] = self.below(post, root, depth)
        return view

    def above(self, child: Record, root: str, height: int) -> Json | None:
        uri = parent_of(child)
        if height < 1 or uri is None:
            return None
        if self.third(child.did, did_of(uri)):
            return {"blocked": uri}
        post = self.post(uri)
        if post is None:
            return {"absent": uri}
        if (root_of(post) or uri) != root:
            return None
        if self.blocked(post.did):
            return {"blocked": uri}
        view: Json = {"post": self.post_view(post)}
        parent = self.above(post, root, height - 1)
        if parent is not None:
            view["parent"] = parent
        return view

    def below(self, parent: Record, root: str, depth: int) -> list[Json]:
        views: list[Json] = []
        replies = [post for post in self.at.replies_to.get(parent.uri, ()) if root_of(post) == root]
        for post in sorted(replies, key=lambda post: (-post.sort_at, post.uri)):
            if self.third(post.did, did_of(parent.uri)) or self.post(post.uri) is None:
                continue
            if self.blocked(post.did):
                views.append({"blocked": post.uri})
                continue
            view: Json = {"post": self.post_view(post)}
            if depth > 1:
                view["replies"] = self.below(post, root, depth - 1)
            views.append(view)
        return views

    # --- lists ---

    def get_likes(self, uri: str) -> list[Json]:
        likes = sorted(self.at.likes_on.get(uri, ()), key=lambda like: (-like.sort_at, like.did))
        return [
            {"actor": self.view(like.did), "createdAt": iso(like.created), "indexedAt": iso(like.first_time)}
            for like in likes
            if self.may_list(like.did) and like.uri not in self.at.model.takedowns
        ]

    def get_reposted_by(self, uri: str) -> list[Json]:
        reposts = sorted(self.at.reposts_on.get(uri, ()), key=lambda repost: (-repost.sort_at, repost.did))
        return [
            self.view(repost.did)
            for repost in reposts
            if self.may_list(repost.did) and repost.uri not in self.at.model.takedowns
        ]

    def may_list(self, did: str) -> bool:
        return self.shown(did) and not self.blocked(did)

    def subject(self, actor: str) -> str:
        did = self.did(actor)
        if did is None or not self.shown(did):
            raise Refusal("InvalidRequest", "Actor not found")
        return did

    def get_followers(self, actor: str) -> list[Json]:
        did = self.subject(actor)
        follows = sorted(self.at.followers.get(did, ()), key=lambda follow: (-follow.sort_at, follow.did))
        return [self.view(who.did) for who in follows if self.may_list(who.did) and not self.third(who.did, did)]

    def get_follows(self, actor: str) -> list[Json]:
        did = self.subject(actor)
        follows = sorted(self.at.following.get(did, ()), key=lambda follow: (-follow.sort_at, follow.subject))
        whom = [follow.subject for follow in follows]
        return [self.view(other) for other in whom if self.may_list(other) and not self.third(other, did)]

    def get_blocks(self) -> list[Json]:
        mine = [block for block in self.at.blocks if block.did == self.viewer]
        mine.sort(key=lambda block: (-block.sort_at, block.subject))
        return [self.view(block.subject) for block in mine if self.shown(block.subject)]

    def get_relationships(self, actor: str, others: Iterable[str]) -> list[Json]:
        views: list[Json] = []
        for other in others:
            view: Json = {"did": other}
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
