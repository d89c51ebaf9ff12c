"""The independent model: what every view must say, from the log's entries, in plain dictionaries.

Shares no code with views/, processors/ or api/. It is slow and obvious: entries go into `accounts`, `records` and
`takedowns`; whatever is asked is computed from those by looping over all of them. Shards do not exist here.
Does not own how answers look (`tests/oracle/answers.py`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.oracle import judge, strict

POST = "app.bsky.feed.post"
LIKE = "app.bsky.feed.like"
REPOST = "app.bsky.feed.repost"
FOLLOW = "app.bsky.graph.follow"
BLOCK = "app.bsky.graph.block"
PROFILE = "app.bsky.actor.profile"
THREADGATE = "app.bsky.feed.threadgate"
POSTGATE = "app.bsky.feed.postgate"


@dataclass
class Account:
    status: str = "active"
    taken_down: bool = False
    handle: str | None = None
    handle_at: int = 0
    rev: str | None = None
    data: str | None = None

    @property
    def state(self) -> str:
        return "takendown" if self.taken_down and self.status != "deleted" else self.status


@dataclass
class Record:
    """`value` is JSON of the data model, None for bytes that are not of it; `created` is what the record says, or when
    it came.
    """

    did: str
    collection: str
    rkey: str
    cid: str
    value: Any
    first_time: int
    rev: str
    holds: bool
    created: int
    sort_at: int

    @property
    def uri(self) -> str:
        return f"at://{self.did}/{self.collection}/{self.rkey}"

    @property
    def subject(self) -> str:
        """Of a like or repost the URI, of a follow or block the DID."""
        subject = self.value["subject"]
        return subject if isinstance(subject, str) else subject["uri"]


@dataclass
class Model:
    accounts: dict[str, Account] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    takedowns: set[str] = field(default_factory=set)
    operations: list[tuple[int, str, str, str, bytes | None]] = field(default_factory=list)
    """(log time, owner, kind, subject, value) of what was set, in any order."""
    left_at: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    chunks: dict[str, list[Any]] = field(default_factory=dict)

    def take(self, entry: Any) -> None:
        """One entry of `commits`, in the order of its shard, with its log time."""
        kind = type(entry).__name__
        if kind == "Moderation":
            self._moderate(entry)
            return
        account = self.accounts.get(entry.did)
        if kind == "Identity":
            account = self.accounts.setdefault(entry.did, Account())
            account.handle, account.handle_at = entry.handle, entry.time
        elif kind == "Account":
            account = self.accounts.setdefault(entry.did, Account())
            account.status = entry.status
            if entry.status == "deleted":
                account.data = None
                self.left_at[entry.did] = entry.time
                for uri in [uri for uri, record in self.records.items() if record.did == entry.did]:
                    del self.records[uri]
        elif kind == "Commit":
            self._commit(account, entry)
        elif kind == "Diff":
            self._diff(account, entry)
        elif kind == "Sync":
            self._sync(account, entry)
        else:
            raise AssertionError(f"the model is not told of {kind} entries")

    def _moderate(self, entry: Any) -> None:
        if not entry.subject.startswith("at://"):
            self.accounts.setdefault(entry.subject, Account()).taken_down = entry.takedown is not None
        elif entry.takedown is None:
            self.takedowns.discard(entry.subject)
        else:
            self.takedowns.add(entry.subject)

    def _commit(self, account: Account | None, entry: Any) -> None:
        head = account or Account()
        follows = head.rev is None or str(entry.rev) > head.rev
        if head.data is not None:
            follows = follows and entry.prev_data is not None and str(entry.prev_data) == head.data
        if head.status == "deleted" or not follows:
            self.refused += 1
            return
        self._apply(entry, entry.ops)

    def _sync(self, account: Account | None, entry: Any) -> None:
        """What our own PDS says of where the repo stands, which the log knows: as it is, or after a restore anew."""
        assert account is not None
        assert str(entry.data) == account.data, "a #sync that says something new"
        assert str(entry.rev) >= account.rev, "a #sync of a rev that has been"
        account.rev = str(entry.rev)

    def _diff(self, account: Account | None, entry: Any) -> None:
        """Chunks are held until the last; the whole counts if its base is the head then."""
        held = self.chunks.setdefault(entry.did, [])
        if entry.chunk == 0:
            held.clear()
        held.append(entry)
        head = account or Account()
        if entry.chunk < entry.chunks - 1:
            return
        base = (head.data, head.rev if head.data is not None else None)
        said = (str(entry.base_data) if entry.base_data else None, str(entry.base_rev) if entry.base_data else None)
        if head.status == "deleted" or base != said or len(held) != entry.chunks:
            self.refused += 1
            return
        for chunk in held:
            self._apply(entry, chunk.ops)

    def _apply(self, entry: Any, ops: Any) -> None:
        account = self.accounts.setdefault(entry.did, Account())
        account.rev, account.data = str(entry.rev), str(entry.data)
        for op in ops:
            uri = f"at://{entry.did}/{op.path}"
            old = self.records.pop(uri, None)
            if op.action == "delete":
                continue
            first = entry.time if old is None else old.first_time
            self.records[uri] = _record(str(entry.did), op.path, str(op.cid), op.record, first, str(entry.rev))

    # --- what is there ---

    def own(self, did: str, kind: str) -> dict[str, tuple[int, bytes]]:
        """What an account has set since it last went, by subject: when, and what; the last word on each counts."""
        last: dict[str, tuple[int, bytes | None]] = {}
        for time, owner, what, subject, value in sorted(self.operations, key=lambda each: each[0]):
            if (owner, what) == (did, kind) and time > self.left_at.get(did, 0):
                last[subject] = (time, value)
        return {subject: (time, value) for subject, (time, value) in last.items() if value is not None}

    def of(self, collection: str) -> list[Record]:
        return [record for record in self.records.values() if record.collection == collection and record.holds]

    def one(self, uri: str, collection: str) -> Record | None:
        record = self.records.get(uri)
        return record if record is not None and record.collection == collection and record.holds else None

    def gate(self, post: str, collection: str) -> Record | None:
        """The gate of a post: in the same repo, under the same key, and naming it."""
        did, kind, rkey = post.removeprefix("at://").split("/")
        gate = self.one(f"at://{did}/{collection}/{rkey}", collection) if kind == POST else None
        return None if gate is None or gate.value["post"] != post or gate.uri in self.takedowns else gate

    def profile(self, did: str) -> Record | None:
        return self.one(f"at://{did}/{PROFILE}/self", PROFILE)

    def that_count(self, collection: str) -> list[Record]:
        """Of several records of an actor on one subject the one with the smallest key."""
        first: dict[tuple[str, str], Record] = {}
        for record in self.of(collection):
            pair = (record.did, record.subject)
            if pair not in first or record.rkey < first[pair].rkey:
                first[pair] = record
        return list(first.values())

    def by_handle(self, handle: str) -> str | None:
        claims = [
            (-account.handle_at, did)
            for did, account in self.accounts.items()
            if account.handle == handle and account.status != "deleted"
        ]
        return min(claims)[1] if claims else None


class Frozen:
    """A model that no longer changes, with what would be looped for again and again kept by key."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.posts = {post.uri: post for post in model.of(POST)}
        self.likes = model.that_count(LIKE)
        self.reposts = model.that_count(REPOST)
        self.follows = model.that_count(FOLLOW)
        self.blocks = model.that_count(BLOCK)
        self.like_of = {(like.did, like.subject): like for like in self.likes}
        self.repost_of = {(repost.did, repost.subject): repost for repost in self.reposts}
        self.follow_of = {(follow.did, follow.subject): follow for follow in self.follows}
        self.block_of = {(block.did, block.subject): block for block in self.blocks}
        self.likes_on: dict[str, list[Record]] = _by(self.likes, lambda like: like.subject)
        self.reposts_on: dict[str, list[Record]] = _by(self.reposts, lambda repost: repost.subject)
        self.replies_to: dict[str, list[Record]] = _by(self.posts.values(), parent_of)
        self.quotes_of: dict[str, list[Record]] = _by(self.posts.values(), quoted)
        self.posts_of: dict[str, list[Record]] = _by(self.posts.values(), lambda post: post.did)
        self.reposts_of: dict[str, list[Record]] = _by(self.reposts, lambda repost: repost.did)
        self.followers: dict[str, list[Record]] = _by(self.follows, lambda follow: follow.subject)
        self.following: dict[str, list[Record]] = _by(self.follows, lambda follow: follow.did)


def _by(records: Any, key: Any) -> dict[str, list[Record]]:
    found: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        at = key(record)
        if at is not None:
            found[at].append(record)
    return found


def parent_of(post: Record) -> str | None:
    reply = post.value.get("reply")
    return None if reply is None else reply["parent"]["uri"]


def root_of(post: Record) -> str | None:
    reply = post.value.get("reply")
    return None if reply is None else reply["root"]["uri"]


def mentioned(post: Record) -> set[str]:
    features = [feature for facet in post.value.get("facets", ()) for feature in facet["features"]]
    return {each["did"] for each in features if each["$type"] == "app.bsky.richtext.facet#mention"}


def quoted(post: Record) -> str | None:
    embed = post.value.get("embed") or {}
    if embed.get("$type") == "app.bsky.embed.record":
        return embed["record"]["uri"]
    if embed.get("$type") == "app.bsky.embed.recordWithMedia":
        return embed["record"]["record"]["uri"]
    return None


def media(post: Record) -> str | None:
    """`$type` of what the post shows besides a quoted record."""
    embed = post.value.get("embed") or {}
    if embed.get("$type") == "app.bsky.embed.recordWithMedia":
        embed = embed["media"]
    kind = embed.get("$type")
    return None if kind == "app.bsky.embed.record" else kind


def did_of(uri: str) -> str:
    return uri.split("/")[2]


def _record(did: str, path: str, cid: str, data: bytes, first_time: int, rev: str) -> Record:  # noqa: PLR0917
    collection, _, rkey = path.partition("/")
    try:
        value = strict.read(data)
    except strict.NoRecord:
        value = None
    said = judge.moment(value.get("createdAt")) if isinstance(value, dict) else None
    created = first_time if said is None else said
    holds = judge.holds(collection, rkey, value)
    return Record(did, collection, rkey, cid, value, first_time, rev, holds, created, min(created, first_time))
