"""`ingest.next_head` comes to the head that `ingest.derive` comes to, over entries of every kind."""

from __future__ import annotations

import random

import msgspec
import pytest

from ingest.derive import Known, derive, derive_diff
from ingest.log import Head
from ingest.next_head import next_head
from ingest.verdict import Reject, accept
from schemas.entries import Account, Diff, Entry, Identity, Moderation
from schemas.syntax import Handle
from tests.support.log_world import Repo, record_of


class Nothing:
    """derive's state without an index: heads do not depend on it."""

    def __init__(self, head: Head | None) -> None:
        self._head = head

    def known(self, did: str) -> Known | None:  # noqa: ARG002 - the port's
        return None if self._head is None else Known(self._head, 1, 1)

    def place(self, did: str, path: str) -> None:  # noqa: ARG002
        return None

    def live(self, did: str, limit: int) -> list:  # noqa: ARG002
        return []

    def takedown_at(self, uri: str) -> None:  # noqa: ARG002
        return None


def slow_next_head(head: Head | None, entry: Entry, *, partial: bool) -> Head | None:
    if isinstance(entry, Diff):
        if entry.chunk < entry.chunks - 1:
            return head
        step = derive_diff(entry, entry, 0, 0, Nothing(head))
    else:
        step = derive(entry, partial, 0, Nothing(head))
    return head if step.known is None else step.known.head


def entries_of(repo: Repo, chance: random.Random, time: int) -> Entry:
    state = chance.choice(["active", "deactivated", "deleted", "suspended"])
    uri = f"at://{repo.did}/app.bsky.feed.post/a"
    made: Entry = chance.choice(
        [
            lambda: repo.write(f"app.bsky.feed.post/{chance.randrange(5)}", record_of(f"{time}")),
            lambda: repo.write(f"app.bsky.feed.post/{chance.randrange(5)}", record_of(f"{time}")),
            lambda: Identity(repo.did, chance.choice([None, Handle("a.test"), Handle("b.test")])),
            lambda: Account(repo.did, state),
            lambda: Moderation(chance.choice([repo.did, uri]), chance.choice([None, "why"])),
        ]
    )()
    return msgspec.structs.replace(made, time=time)


@pytest.mark.parametrize("seed", range(50))
def test_the_head_is_the_one_that_derive_comes_to(seed):
    chance, repo = random.Random(seed), Repo(1, seed)
    head: Head | None = None
    moved = 0

    for time in range(1, 40):
        entry = entries_of(repo, chance, time)
        verdict = accept(head, entry)
        if isinstance(verdict, Reject):
            continue
        expected = slow_next_head(head, entry, partial=verdict.partial)
        found = next_head(head, entry, partial=verdict.partial)
        assert found == expected, entry
        moved += found != head
        head = found

    assert moved > 5


def test_a_diff_moves_the_head_at_its_last_chunk():
    repo = Repo(1)
    repo.write("app.bsky.feed.post/a", record_of("one"))
    head = Head(repo.did, repo.rev, repo.data, repo.commit, b"block", partial=True)
    chunk = Diff(repo.did, repo.rev, repo.data, repo.rev, repo.commit, b"new", repo.data, 0, 2, None, (), 5)
    last = msgspec.structs.replace(chunk, chunk=1, first=7)

    assert next_head(head, chunk, partial=True) == slow_next_head(head, chunk, partial=True) == head
    assert next_head(head, last, partial=False) == slow_next_head(head, last, partial=False)
    assert next_head(head, last, partial=False).commit_block == b"new"
