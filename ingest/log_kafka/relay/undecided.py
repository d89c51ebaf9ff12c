"""What a relay has put into `commits` and derive has not judged yet: the heads that its accounts will have.

1. A head here lies over the one that is derived, so that an account's next commit is judged by what came before it.
2. When derive has come past an entry, `records` say what became of it. Where the account stands below what the entry
   made of it, the log has refused it: all that was built on it goes, and the account is to be caught up with. So is
   one that its newest entry would have left whole and that is partial, wherever it stands.
3. A duplicate leaves the account where the entry would have brought it, and is nothing to be told of.

Bounded: `room` waits for derive. Owns neither the log nor what is derived.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ingest.log import Head
from schemas.syntax import Did

MAX_UNDECIDED = 50_000  # about 1 KB each


class Undecided:
    """Offsets are those of `commits`."""

    def __init__(self, shards: int, most: int = MAX_UNDECIDED) -> None:
        self._most = most
        # The newest entry's offset and head, and the offset from which on entries built on what is here.
        self._heads: dict[str, tuple[int, Head | None, int]] = {}
        self._queues: list[deque[tuple[int, Did, Head | None]]] = [deque() for _ in range(shards)]
        self._decided: dict[str, asyncio.Event] = {}
        self._room = asyncio.Event()
        self._room.set()
        self.count = 0
        """Entries that wait for derive."""

    def __contains__(self, did: str) -> bool:
        return did in self._heads

    def head(self, did: str) -> Head | None:
        """HOT: of an account that is in."""
        return self._heads[did][1]

    async def room(self) -> None:
        """Return once another entry may come."""
        while self.count >= self._most:
            self._room.clear()
            await self._room.wait()

    async def settled(self, did: str) -> None:
        """Return once nothing of the account waits."""
        while did in self._heads:
            await self._decided.setdefault(did, asyncio.Event()).wait()

    def put(self, shard: int, offset: int, did: Did, head: Head | None) -> None:
        """HOT: an entry is in `commits`, and makes this of its account's head."""
        known = self._heads.get(did)
        self._heads[did] = (offset, head, offset if known is None else known[2])
        self._queues[shard].append((offset, did, head))
        self.count += 1

    def decide(self, shard: int, done: int, derived: Callable[[str], Head | None]) -> list[Did]:
        """Derive has come to `done`, and the heads are as `derived` says; the accounts whose entries it refused."""
        queue, refused = self._queues[shard], list[Did]()
        while queue and queue[0][0] <= done:
            offset, did, head = queue.popleft()
            self.count -= 1
            newest, _, since = self._heads.get(did, (0, None, 0))
            if not since <= offset <= newest:
                continue  # gone with one before it, which was refused
            if is_below(derived(did), head):
                refused.append(did)
            elif newest != offset:
                continue
            elif is_partial_above(derived(did), head):
                refused.append(did)
            del self._heads[did]
            decided = self._decided.pop(did, None)
            if decided is not None:
                decided.set()
        if self.count < self._most:
            self._room.set()
        return refused


def is_below(derived: Head | None, expected: Head | None) -> bool:
    """Whether the log stands below what an entry would have made of an account."""
    if expected is None or expected.rev is None:
        return False
    if derived is None or derived.rev is None or derived.rev < expected.rev:
        return True
    return derived.rev == expected.rev and derived.partial and not expected.partial


def is_partial_above(derived: Head | None, expected: Head | None) -> bool:
    """Whether an account that an entry would have made whole has gone on as it was: the diff's base had moved."""
    return derived is not None and derived.partial and expected is not None and not expected.partial
