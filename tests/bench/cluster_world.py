"""What happens in the measured cluster: accounts that follow each other, and events in the mix of the real network.

Entries chain as verified ones do and are not signed: nobody behind the log looks. Does not own how they are sent.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import orjson

from schemas.cbor import encode
from schemas.cid import Cid
from schemas.data import from_json
from schemas.entries import Commit
from schemas.tid import tid_from_micros
from tests.bench.world import sentence
from tests.support.log_world import Repo

POST, LIKE, REPOST = "app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.feed.repost"
FOLLOW, BLOCK, PROFILE = "app.bsky.graph.follow", "app.bsky.graph.block", "app.bsky.actor.profile"
CID = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
_DISTRIBUTIONS = "derived/load_model_distributions.json"


class MeasuredWorld:
    """Events come one by one, each the next commit of its account. `vectors` holds the mix."""

    def __init__(self, vectors: Path, accounts: int, seed: int = 1) -> None:
        mix = orjson.loads((vectors / _DISTRIBUTIONS).read_bytes())["event_mix_pct"]
        self._kinds, self._weights = zip(*mix.items(), strict=True)
        self._dice = random.Random(seed)
        self.repos = [Repo(number + 1, filler=400) for number in range(accounts)]
        self._posts: list[str] = []
        self._live: dict[str, list[tuple[Repo, str]]] = {}
        self._clock = int(datetime.now(UTC).timestamp() * 1e6) - 3_600_000_000

    def beginning(self, follows: int) -> Iterator[Commit]:
        """Everybody has a profile and a post, and follows so many, some accounts more than others."""
        for repo in self.repos:
            yield self._put(repo, PROFILE, {"displayName": f"Person {repo.did[-4:]}"}, "self")
            yield self.post(repo)
            for subject in {self._somebody().did for _ in range(follows)} - {repo.did}:
                yield self._put(repo, FOLLOW, {"subject": str(subject)})

    def events(self, number: int) -> Iterator[Commit]:
        for kind in self._dice.choices(self._kinds, self._weights, k=number):
            yield self._event(kind)

    def follow(self, reader: Repo, author: Repo) -> Commit:
        return self._put(reader, FOLLOW, {"subject": str(author.did)})

    def post(self, repo: Repo, **more: Any) -> Commit:
        entry = self._put(repo, POST, {"text": sentence(self._dice), "langs": ["en"], **more})
        self._posts.append(f"at://{repo.did}/{entry.ops[0].path}")
        return entry

    def _event(self, kind: str) -> Commit:
        name, _, action = kind.rpartition(" ")
        collection = f"app.bsky.{name.removesuffix(' reply')}"
        repo = self._dice.choice(self.repos)
        if action == "delete" and self._live.get(collection):
            live = self._live[collection]
            repo, path = live.pop(self._dice.randrange(len(live)))
            return self._commit(repo, path, None)
        if name.startswith(("feed.like", "feed.repost")):
            return self._put(repo, collection, {"subject": _ref(self._liked())})
        if name.startswith(("graph.follow", "graph.block")):
            return self._put(repo, collection, {"subject": str(self._somebody().did)})
        if name.startswith("actor.profile"):
            return self._put(repo, PROFILE, {"displayName": sentence(self._dice)[:40]}, "self")
        if name.endswith("reply"):
            parent = _ref(self._liked())
            return self.post(repo, reply={"root": parent, "parent": parent})
        if name.startswith("feed.post"):
            return self.post(repo)
        # Gates, lists and statuses: in the log, and in no table but `records`.
        return self._put(repo, "org.example.other", {"any": kind})

    def _put(self, repo: Repo, collection: str, value: dict[str, Any], rkey: str | None = None) -> Commit:
        self._clock += 1_000
        path = f"{collection}/{rkey or tid_from_micros(self._clock, 1)}"
        created = datetime.fromtimestamp(self._clock / 1e6, UTC).isoformat(timespec="milliseconds")
        said = {"$type": collection, "createdAt": created.replace("+00:00", "Z"), **value}
        if rkey is None:
            self._live.setdefault(collection, []).append((repo, path))
        return self._commit(repo, path, encode(from_json(said)))

    def _commit(self, repo: Repo, path: str, record: bytes | None) -> Commit:
        self._clock += 1_000
        op = repo.op(path, record)
        data = Cid.of_cbor(self._clock.to_bytes(8, "big"))
        return msgspec.structs.replace(repo.commit_entry(op, data=data), time=self._clock)

    def _somebody(self) -> Repo:
        """The first accounts are known to many."""
        return self.repos[int(len(self.repos) * self._dice.random() ** 3)]

    def _liked(self) -> str:
        """Mostly something new, some of it much more than the rest."""
        back = min(len(self._posts), int(self._dice.paretovariate(0.6)))
        return self._posts[-back]


def _ref(uri: str) -> dict[str, str]:
    return {"uri": uri, "cid": CID}
