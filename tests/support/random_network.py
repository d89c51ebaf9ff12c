"""What people do to a network, at random and again from its seed: few accounts, few keys, few moments, so that all of
it collides. Says steps; who drives a network with them is another's business (`tests/support/fast_network.py`, HTTP).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.data import from_json
from schemas.datetimes import from_micros
from schemas.tid import tid_from_micros
from tests.oracle.model import BLOCK, FOLLOW, LIKE, POST, POSTGATE, PROFILE, REPOST, THREADGATE
from tests.support.invalid_blocks import spoilt

SECOND = 1_000_000
CID = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
BLOB = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
NOBODY = "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz"
KEYS = 9

Json = dict[str, Any]


@dataclass(frozen=True)
class Write:
    """One commit; a value of None deletes, bytes are a block that is no record.

    `diff`: as chunks of so many operations instead (a resync).
    """

    did: str
    changes: tuple[tuple[str, Json | bytes | None], ...]
    diff: int = 0


@dataclass(frozen=True)
class Status:
    did: str
    status: str


@dataclass(frozen=True)
class Named:
    did: str
    handle: str | None


@dataclass(frozen=True)
class Takedown:
    """Of an account or a record; `put` False reverses it."""

    subject: str
    put: bool


@dataclass(frozen=True)
class Again:
    """An entry that the log has taken comes once more; `forked`: with a newer rev, as if the host had forked."""

    did: str
    forked: bool = False


@dataclass(frozen=True)
class Operate:
    """What an account sets in the AppView; None takes it away."""

    did: str
    kind: str
    subject: str
    value: bytes | None


Step = Write | Status | Named | Takedown | Again | Operate


@dataclass
class Habits:
    """How often what is done, relative to each other; 0 is never."""

    post: int = 20
    like: int = 10
    repost: int = 8
    follow: int = 14
    block: int = 3
    profile: int = 3
    delete: int = 12
    several: int = 5
    broken: int = 3
    spoilt: int = 0
    odd: int = 2
    gate: int = 0
    status: int = 4
    leave: int = 2
    named: int = 2
    take_down: int = 3
    again: int = 2
    diff: int = 2
    operate: int = 0
    media: bool = True
    shared: bool = False
    """Whether several accounts may have one handle."""


@dataclass
class RandomNetwork:
    """`now` is unix microseconds of the log's clock, about which createdAt lies."""

    dice: random.Random
    dids: Sequence[str]
    now: Callable[[], int]
    habits: Habits = field(default_factory=Habits)
    status: dict[str, str] = field(default_factory=dict)
    live: dict[str, dict[str, Json]] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    posts: list[str] = field(default_factory=list)
    start: int = 0

    def __post_init__(self) -> None:
        self.start = self.now()
        for did in self.dids:
            self.status.setdefault(did, "active")
            self.live.setdefault(did, {})

    def steps(self, number: int) -> Iterator[Step]:
        """At least `number` steps, each true to what was done before it."""
        names = [name for name in self._deeds() if getattr(self.habits, name)]
        weights = [getattr(self.habits, name) for name in names]
        deeds = self._deeds()
        said = 0
        while said < number:
            (name,) = self.dice.choices(names, weights)
            step = deeds[name]()
            if step is not None:
                said += 1
                yield step

    def _deeds(self) -> dict[str, Callable[[], Step | None]]:
        return {
            "post": lambda: self._write(POST, self._post()),
            "like": lambda: self._write(LIKE, self._on_record()),
            "repost": lambda: self._write(REPOST, self._on_record(self._uri(0.97))),
            "follow": lambda: self._write(FOLLOW, self._on_account()),
            "block": lambda: self._write(BLOCK, self._on_account()),
            "profile": lambda: self._write(PROFILE, self._profile(), "self"),
            "delete": self._delete,
            "several": self._several,
            "broken": self._broken,
            "spoilt": self._spoilt,
            "odd": self._odd,
            "gate": self._gate,
            "status": self._status,
            "leave": self._leave,
            "named": self._named,
            "take_down": self._take_down,
            "again": lambda: Again(self.dice.choice(self.dids), forked=self.dice.random() < 0.5),
            "diff": self._diff,
            "operate": self._operate,
        }

    # --- records ---

    def moment(self) -> str:
        """createdAt: mostly one of a few seconds about now, so that sort keys meet; sometimes far away."""
        dice = self.dice
        about = self.start + dice.randrange(-6, 14) * SECOND
        kind = dice.randrange(20)
        if kind == 0:
            return dice.choice(("2099-12-31T23:59:59Z", "1970-01-01T00:00:00.000Z", "0001-01-01T00:00:00.000Z"))
        if kind == 1:
            return from_micros(self.now())[:19] + dice.choice((".123456Z", "+00:00", ".5+05:30", ".999999999-23:59"))
        if kind == 2:
            return from_micros(self.now() + SECOND)
        return from_micros(about)

    def _post(self) -> Json:
        dice = self.dice
        value: Json = {"text": f"post {dice.randrange(1000)}", "createdAt": self.moment()}
        if dice.random() < 0.45 and self.posts:
            parent = self._uri(0.95)
            root = self._uri(0.9) if dice.random() < 0.1 else self._root_of(parent)
            value["reply"] = {"root": _ref(root), "parent": _ref(parent)}
        kind = dice.randrange(10)
        if kind < 3 and self.posts:
            value["embed"] = {"$type": "app.bsky.embed.record", "record": _ref(self._uri(0.9))}
        elif kind == 3 and self.habits.media:
            value["embed"] = _images()
        elif kind == 4 and self.habits.media and self.posts:
            quote = {"$type": "app.bsky.embed.record", "record": _ref(self._uri(0.9))}
            value["embed"] = {"$type": "app.bsky.embed.recordWithMedia", "record": quote, "media": _images()}
        if dice.random() < 0.1:
            value["labels"] = {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "porn"}]}
        if self.habits.gate and dice.random() < 0.3:
            value["facets"] = [_mention(dice.choice(self.dids)) for _ in range(dice.randint(1, 2))]
        return value

    def _gate(self) -> Write:
        """At one's own post mostly; with rules, or without, or saying something that it may not."""
        dice, did = self.dice, self._writer()
        collection = dice.choice((THREADGATE, POSTGATE))
        told = {_named(record, collection) for paths in self.live.values() for record in paths.values()}
        own = [path.partition("/")[2] for path in self.live[did] if path.startswith(f"{POST}/")]
        # Those that are answered or quoted before others.
        own = [rkey for rkey in own if f"at://{did}/{POST}/{rkey}" in told] or own
        rkey = dice.choice(own) if own and dice.random() < 0.9 else key(dice.randrange(KEYS))
        post = f"at://{did}/{POST}/{rkey}" if dice.random() < 0.93 else self._uri(0.9)
        value: Json = {"post": post, "createdAt": self.moment() if dice.random() < 0.6 else from_micros(self.now())}
        naming = [
            f"at://{who}/{path}"
            for who, paths in self.live.items()
            for path in paths
            if _named(paths[path], collection) == post
        ]
        some = [dice.choice(naming) if naming else self._uri(0.9) for _ in range(dice.randrange(3))]
        if collection == THREADGATE:
            rules = [dice.choice(("mention", "following", "follower", "list")) for _ in range(dice.randrange(3))]
            if dice.random() < 0.85:
                value["allow"] = [{"$type": f"{THREADGATE}#{name}Rule", "list": post} for name in rules]
            value |= {"hiddenReplies": some} if some else {}
        else:
            if dice.random() < 0.5:
                value["embeddingRules"] = [{"$type": f"{POSTGATE}#disableRule"}]
            value |= {"detachedEmbeddingUris": some} if some else {}
        if dice.random() < 0.05:
            value |= {"allow": "nobody", "embeddingRules": 7}
        return self._done(Write(did, ((f"{collection}/{rkey}", {"$type": collection, **value}),)))

    def _on_record(self, uri: str | None = None) -> Json:
        return {"subject": _ref(uri or self._uri(0.9)), "createdAt": self.moment()}

    def _on_account(self) -> Json:
        subject = NOBODY if self.dice.random() < 0.03 else self.dice.choice(self.dids)
        return {"subject": subject, "createdAt": self.moment()}

    def _profile(self) -> Json:
        dice = self.dice
        value: Json = {"displayName": dice.choice(("Ann", "Bea Cay", "", "Ünal ﬁx")), "description": "about"}
        if dice.random() < 0.5:
            value["createdAt"] = self.moment()
        if dice.random() < 0.5 and self.posts:
            value["pinnedPost"] = _ref(self._uri(0.9))
        return value

    def _uri(self, likely: float) -> str:
        """Mostly a post that is or was there; else a record of another kind, or none at all."""
        dice = self.dice
        if self.posts and dice.random() < likely:
            return dice.choice(self.posts[-12:] if dice.random() < 0.7 else self.posts)
        others = [f"at://{did}/{path}" for did, paths in self.live.items() for path in paths]
        if others and dice.random() < 0.7:
            return dice.choice(others)
        return f"at://{dice.choice((*self.dids, NOBODY))}/{POST}/{key(dice.randrange(KEYS))}"

    def _root_of(self, uri: str) -> str:
        did, _, path = uri[5:].partition("/")
        reply = self.live.get(did, {}).get(path, {}).get("reply")
        return reply["root"]["uri"] if isinstance(reply, dict) and "root" in reply else uri

    def _write(self, collection: str, value: Json, rkey: str | None = None) -> Write:
        did = self._writer()
        change = self._change(did, collection, value, rkey)
        return self._done(Write(did, (change,)))

    def _change(self, did: str, collection: str, value: Json, rkey: str | None = None) -> tuple[str, Json]:
        dice = self.dice
        path = f"{collection}/{rkey or key(dice.randrange(KEYS))}"
        old = self.live[did].get(path)
        if old and dice.random() < 0.5:
            # The same thing said a little differently: another moment, or another subject.
            value = {**old, "createdAt": value.get("createdAt", "2020-01-01T00:00:00Z")}
        return path, {"$type": collection, **value}

    def _several(self) -> Write | None:
        did = self._writer()
        changes: dict[str, Json | bytes | None] = {}
        for _ in range(self.dice.randrange(2, 6)):
            kind = self.dice.randrange(6)
            if kind == 0 and self.live[did]:
                changes[self.dice.choice(sorted(self.live[did]))] = None
                continue
            collection, value = (
                (POST, self._post()),
                (LIKE, self._on_record()),
                (REPOST, self._on_record()),
                (FOLLOW, self._on_account()),
                (BLOCK, self._on_account()) if self.habits.block else (POST, self._post()),
            )[kind - 1]
            path, said = self._change(did, collection, value)
            # One in thirty beside good ones is no record: the others go on.
            changes[path] = (
                self.dice.choice([*spoilt(from_json(said)).values()])
                if self.habits.spoilt and self.dice.random() < 0.03
                else said
            )
        return self._done(Write(did, tuple(changes.items())))

    def _diff(self) -> Write | None:
        step = self._several()
        return None if step is None else Write(step.did, step.changes, self.dice.randrange(1, 4))

    def _delete(self) -> Write | None:
        did = self._writer()
        if not self.live[did]:
            return None
        path = self.dice.choice(sorted(self.live[did]))
        return self._done(Write(did, ((path, None),)))

    def _broken(self) -> Write:
        """A record that fails its lexicon or its key's rule."""
        dice = self.dice
        post, like, follow = self._post(), self._on_record(), self._on_account()
        collection, value, rkey = dice.choice(
            (
                (POST, {**post, "text": 7}, None),
                (POST, {**post, "text": "x" * 3001}, None),
                (POST, {**post, "createdAt": "yesterday"}, None),
                (POST, {**post, "createdAt": "2024-02-30T00:00:00Z"}, None),
                (POST, {**post, "reply": {"root": _ref(self._uri(1))}}, None),
                (POST, post, "no-tid"),
                (LIKE, {**like, "subject": {"uri": self._uri(1)}}, None),
                (LIKE, {"subject": like["subject"]}, None),
                (LIKE, like, "self"),
                (REPOST, {**like, "subject": "text"}, None),
                (FOLLOW, {**follow, "subject": "ann.test"}, None),
                (FOLLOW, {**follow, "createdAt": 5}, None),
                (BLOCK, {"createdAt": follow["createdAt"]}, None),
                (PROFILE, {"displayName": "x" * 700}, "self"),
                (PROFILE, {"displayName": "fine"}, "other"),
            )
        )
        did = self._writer()
        path = f"{collection}/{rkey or key(dice.randrange(KEYS))}"
        return self._done(Write(did, ((path, {"$type": collection, **value}),)))

    def _spoilt(self) -> Write:
        """Bytes that are no record."""
        dice = self.dice
        collection, value = dice.choice(
            ((POST, self._post()), (LIKE, self._on_record()), (FOLLOW, self._on_account()), (PROFILE, self._profile()))
        )
        block = dice.choice([*spoilt(from_json({"$type": collection, **value})).values()])
        did = self._writer()
        path = f"{collection}/{'self' if collection == PROFILE else key(dice.randrange(KEYS))}"
        return self._done(Write(did, ((path, block),)))

    def _odd(self) -> Write:
        """A collection that no view knows."""
        did = self._writer()
        path = f"org.example.thing/{self.dice.randrange(3)}"
        return self._done(Write(did, ((path, {"$type": "org.example.thing", "any": self.dice.randrange(9)}),)))

    def _done(self, step: Write) -> Write:
        if self.status[step.did] == "deleted":
            return step
        live = self.live[step.did]
        for path, value in step.changes:
            if value is None:
                del live[path]
                continue
            live[path] = {} if isinstance(value, bytes) else value
            uri = f"at://{step.did}/{path}"
            if path.startswith(POST) and uri not in self.posts:
                self.posts.append(uri)
        return step

    def _writer(self) -> str:
        """Whoever is there writes most; somebody who has left, hardly ever."""
        there = [did for did in self.dids if self.status[did] != "deleted"]
        return self.dice.choice(there if there and self.dice.random() < 0.98 else self.dids)

    # --- accounts ---

    def _status(self) -> Status | None:
        away = [did for did in self.dids if self.status[did] not in ("active", "deleted")]
        if away and self.dice.random() < 0.7:
            return self._become(self.dice.choice(away), "active")
        did = self.dice.choice(self.dids)
        return self._become(did, self.dice.choice(("deactivated", "suspended", "active")))

    def _leave(self) -> Status | None:
        gone = [did for did in self.dids if self.status[did] == "deleted"]
        if gone:
            return self._become(self.dice.choice(gone), "active")
        return self._become(self.dice.choice(self.dids), "deleted")

    def _become(self, did: str, status: str) -> Status:
        self.status[did] = status
        if status == "deleted":
            self.live[did] = {}
        return Status(did, status)

    def _operate(self) -> Operate:
        dice = self.dice
        did, kind = self._writer(), dice.choice(("mute", "mute", "bookmark", "bookmark", "threadmute"))
        if kind == "mute":
            subject = dice.choice([other for other in self.dids if other != did] or [NOBODY])
            return Operate(did, kind, subject, dice.choice((b"\0", b"\0", b"\0", b"\1", b"\2", b"\3", None, None)))
        uri = self._uri(0.9)
        subject = self._root_of(uri) if kind == "threadmute" else uri
        value = b"" if kind == "threadmute" else CID.encode()
        return Operate(did, kind, subject, None if dice.random() < 0.25 else value)

    def _named(self) -> Named:
        did = self.dice.choice(self.dids)
        names = "shared.test" if self.habits.shared else f"name{self.dids.index(did)}.test"
        return Named(did, self.dice.choice((None, names, names, f"other-{names}")))

    def _take_down(self) -> Takedown | None:
        dice = self.dice
        if self.down and dice.random() < 0.6:
            subject = dice.choice(sorted(self.down))
            self.down.discard(subject)
            return Takedown(subject, put=False)
        kind = dice.randrange(10)
        subject = dice.choice(self.dids)
        gates = [f"at://{who}/{path}" for who, paths in self.live.items() for path in paths if "gate/" in path]
        if gates and dice.random() < 0.4:
            subject = dice.choice(gates)
            self.down.add(subject)
            return Takedown(subject, put=True)
        if kind < 7 and self.posts:
            subject = dice.choice(self.posts)
        elif kind < 9 and self.live[subject]:
            subject = f"at://{subject}/{dice.choice(sorted(self.live[subject]))}"
        self.down.add(subject)
        return Takedown(subject, put=True)


def key(number: int) -> str:
    return str(tid_from_micros(1_700_000_000_000_000 + number * SECOND, 0))


def _ref(uri: str) -> Json:
    return {"uri": uri, "cid": CID}


def _named(record: Json, gate: str) -> str | None:
    """The post whose gate rules over a record: the root that it answers below, or what it quotes."""
    if gate == THREADGATE:
        root = (record.get("reply") or {}).get("root") or {}
        return root.get("uri")
    quote = (record.get("embed") or {}).get("record") or {}
    return quote.get("uri") or (quote.get("record") or {}).get("uri")


def _mention(did: str) -> Json:
    feature = {"$type": "app.bsky.richtext.facet#mention", "did": did}
    return {"index": {"byteStart": 0, "byteEnd": 1}, "features": [feature]}


def _images() -> Json:
    blob = {"$type": "blob", "ref": {"$link": BLOB}, "mimeType": "image/jpeg", "size": 11}
    return {"$type": "app.bsky.embed.images", "images": [{"alt": "", "image": blob}]}
