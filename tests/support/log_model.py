"""A model of the log made of plain dictionaries, and a network that feeds both. Shares no rule's code with ingest/."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

from ingest.log import Log
from schemas.entries import Account, AccountEntry, Commit, Diff, HeadEntry, Identity, Moderation, RecordEntry
from schemas.syntax import Handle
from schemas.topics import shard_of
from tests.support.log_world import Repo, record_of

PATHS = [f"app.bsky.feed.post/{key}" for key in "abcdef"]


@dataclass
class Held:
    """What the log should know of one account."""

    rev: str | None = None
    data: object = None
    commit: object = None
    status: str = "active"
    handle: str | None = None
    taken_down: bool = False
    records: dict[str, tuple[bytes, int]] = field(default_factory=dict)


class Model:
    """The rules again, in their simplest words; histories here are never partial."""

    def __init__(self) -> None:
        self.accounts: dict[str, Held] = {}
        self.events: list[tuple[str, str]] = []
        self.accepted: dict[str, list[Commit]] = {}

    def accepts(self, entry) -> bool:
        if isinstance(entry, Identity | Account | Moderation):
            return True
        a = self.accounts.get(entry.did, Held())
        if a.status == "deleted":
            return False
        if a.rev is not None and entry.rev <= a.rev:
            return False
        if isinstance(entry, Commit):
            return a.data is None or entry.prev_data == a.data
        return entry.base_data == a.data and (a.data is None or entry.base_rev == a.rev)

    async def read(self, log: Log, shard: int = 0) -> None:
        """Take in everything that a log's `commits` holds, accepted or not."""
        for _, entry in await log.read_commits(shard, 0, 100_000):
            if self.accepts(entry):
                self.apply(entry, entry.time)

    def apply(self, entry, time: int) -> None:
        did = entry.subject if isinstance(entry, Moderation) else entry.did
        a = self.accounts.setdefault(did, Held())
        before = self.shown(a)
        match entry:
            case Identity():
                a.handle = entry.handle
                self.events.append((did, "identity"))
            case Account():
                a.status = entry.status
                if entry.status == "deleted":
                    a.records, a.data, a.commit = {}, None, None
                self.events.append((did, "account"))
            case Moderation():
                a.taken_down = entry.takedown is not None
                if self.shown(a) != before:
                    self.events.append((did, "account"))
            case Commit() | Diff():
                for op in entry.ops:
                    if op.record is None:
                        a.records.pop(op.path, None)
                    else:
                        first = a.records[op.path][1] if op.path in a.records else time
                        a.records[op.path] = (op.record, first)
                a.rev, a.data, a.commit = entry.rev, entry.data, entry.commit
                if isinstance(entry, Diff):
                    self.events += [(did, "sync")] if entry.told else []
                else:
                    self.events.append((did, "commit"))
                    self.accepted.setdefault(did, []).append(entry)

    @staticmethod
    def shown(a: Held) -> str:
        return "takendown" if a.taken_down and a.status != "deleted" else a.status


class Network:
    """Makes entries: mostly right ones, some late, some twice, some from a second writer."""

    def __init__(self, seed: int, accounts: int) -> None:
        self.random = random.Random(seed)
        self.repos = [Repo(n, seed) for n in range(accounts)]
        self.sent: list[Commit] = []
        self.texts = 0

    def entry(self):
        repo = self.random.choice(self.repos)
        pick = self.random.random()
        if pick < 0.55:
            entry = repo.commit_entry(*self.ops(repo))
            self.sent.append(entry)
            return entry
        if pick < 0.62:
            return Account(repo.did, self.random.choice(["active", "active", "deactivated", "suspended", "deleted"]))
        if pick < 0.68:
            return Moderation(repo.did, self.random.choice([None, "reference"]))
        if pick < 0.72:
            return Identity(repo.did, self.random.choice([None, Handle(f"h{self.random.randrange(9)}.test")]))
        if pick < 0.80:
            return repo.diff_entries(self.ops(repo), 9, told=self.random.random() < 0.5)[0]
        if pick < 0.90 and self.sent:
            return self.random.choice(self.sent)
        fork = Repo(int(repo.did[-4:]), self.texts)
        fork.records, fork.rev, fork.data, fork.clock = dict(repo.records), repo.rev, repo.data, repo.clock
        return fork.commit_entry(*self.ops(fork))

    def ops(self, repo: Repo):
        ops = []
        for path in self.random.sample(PATHS, self.random.choice([1, 1, 2, 4])):
            self.texts += 1
            gone = path in repo.records and self.random.random() < 0.4
            ops.append(repo.op(path, None if gone else record_of(str(self.texts))))
        return ops

    def follow(self, model: Model) -> None:
        """Every host reads back what the log holds, as a PDS does after a rejection."""
        for repo in self.repos:
            a = model.accounts.get(repo.did)
            if a is not None:
                repo.records = {path: value for path, (value, _) in a.records.items()}
                repo.rev, repo.data = a.rev, a.data


async def compare(log: Log, model: Model, shards: int) -> None:
    records: dict[str, tuple[bytes, int]] = {}
    heads: dict[str, HeadEntry] = {}
    accounts: dict[str, AccountEntry] = {}
    for shard in range(shards):
        entries = await log.read_records(shard, 0, 10_000)
        assert [e.offset for e in entries] == [e.n for e in entries] == list(range(1, log.records_end(shard) + 1))
        assert all(a.time <= b.time for a, b in pairwise(entries))
        times = [e.time for _, e in await log.read_commits(shard, 0, 10_000)]
        assert all(a < b for a, b in pairwise(times))
        for e in entries:
            match e:
                case RecordEntry(value=None):
                    records.pop(e.uri, None)
                case RecordEntry():
                    records[e.uri] = (e.value, e.first_time)
                case HeadEntry():
                    heads[e.did] = e
                case AccountEntry():
                    accounts[e.did] = e
            assert getattr(e, "did", None) is None or shard_of(e.did, shards) == shard
    assert records == {f"at://{did}/{p}": v for did, a in model.accounts.items() for p, v in a.records.items()}
    for did, a in model.accounts.items():
        head = log.head(did)
        if head is None:  # only ever told that no takedown lies on it
            assert a == Held()
            continue
        assert (head.rev, head.data, head.commit) == (a.rev, a.data, a.commit)
        assert (head.status, head.handle, head.taken_down) == (a.status, a.handle, a.taken_down)
        assert log.paths(did) == sorted(a.records)
        for path, (value, first) in a.records.items():
            found = log.record(did, path)
            assert found is not None
            assert found[1:] == (value, first)
        if did in accounts:
            assert (accounts[did].handle, accounts[did].status) == (a.handle, model.shown(a))
        if a.data is not None:
            assert (heads[did].rev, heads[did].data, heads[did].commit) == (a.rev, a.data, a.commit)
    events = await log.read_firehose(0, 10_000)
    assert [(e.did, e.kind) for e in events] == model.events
    assert [e.seq for e in events] == list(range(1, len(model.events) + 1))
    for chain in model.accepted.values():
        assert all(b.rev > a.rev for a, b in pairwise(chain))
