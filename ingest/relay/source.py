"""Where messages come from: how far a stream has been taken, what became of its messages, how many are under way.

Does not own connections (`ingest.relay.subscription`) nor what is done with a message (`ingest.relay.intake`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Literal

from ingest.relay.numbering import Numbering
from ingest.relay.quotas import Bucket
from ingest.repo.messages import AccountMessage, CommitMessage, IdentityMessage, SyncMessage
from schemas.errors import Refused

Kind = Literal["host", "upstream", "file"]
"""A PDS, which speaks for its own accounts; another relay, which passes on; frames that an operator hands over."""

Numbered = CommitMessage | SyncMessage | IdentityMessage | AccountMessage


class Progress:
    """Which seq is the last below which nothing is under way: what a cursor may say.

    Seqs come rising; they are done in any order.
    """

    def __init__(self, reached: int | None = None) -> None:
        self.reached = reached
        self.last = reached or 0
        self._under_way: deque[int] = deque()
        self._done: set[int] = set()

    def begin(self, seq: int) -> None:
        self.last = seq
        self._under_way.append(seq)

    def done(self, seq: int) -> None:
        self._done.add(seq)
        under_way = self._under_way
        while under_way and under_way[0] in self._done:
            self.reached = under_way.popleft()
            self._done.remove(self.reached)

    def take_back(self, seq: int, last: int) -> None:
        """The newest that began is not under way after all: it is to be read again, behind `last`."""
        if self._under_way and self._under_way[-1] == seq:
            self._under_way.pop()
            self.last = last

    @property
    def waiting(self) -> int:
        return len(self._under_way)


class Source:
    """One stream. `room` bounds its messages under way, so that a slow account delays its own host alone.

    `refreshes` bounds how often it may have identities asked for anew: else one that lies makes a storm of them.
    """

    def __init__(self, name: str, kind: Kind, *, room: int, refreshes: Bucket, reached: int | None = None) -> None:
        self.name = name
        self.kind = kind
        self.room = asyncio.Semaphore(room)
        self.refreshes = refreshes
        self.progress = Progress(reached)
        self.numbering = Numbering()
        self.accepted: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def may_add_account(self) -> bool:
        """Whether an account that was never seen may be this host's."""
        return True

    def took(self, kind: str, message: Numbered) -> None:  # noqa: ARG002 - for who keeps more than counts
        """A message led to an entry of the log; or (`buffered`, `ignored`) needs none now."""
        self.accepted[kind] += 1

    def refused(self, refused: Refused, did: str = "") -> None:  # noqa: ARG002 - as above
        """A message was dropped."""
        self.dropped[refused.reason.value] += 1
