"""Accounts of which it cannot be told now who they are: their messages wait, bounded and in order, and nothing is lost.

1. A message whose identity cannot be told is held after a few tries, and so is what comes of its account after it. Its
   line and its host's stream go on: a directory that is away stops strangers alone.
2. Identities are tried again, later each time up to a minute, a few at once. Once one can be told, or is known not to
   be, what was held is taken in order.
3. What does not fit is let go; then the account is fetched whole once it is known where it is.
4. That an account waits is saved with the cursors that have passed its messages, and with the newest #account and
   #identity that wait: after a crash its repo is fetched, and what it said of itself is held again.
5. The host of a did:web that stays away is waited for no longer than `_TRIES_WEB` tries: it is one account's alone.
   did:plc and did:web are asked for side by side: hosts that let one wait do not hold up the directory's.

Does not own what is done with a message (`ingest.relay.intake`) nor repos fetched whole (`ingest.relay.resync`).
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

from ingest.identity.reasons import IdentityRefused
from ingest.identity.resolver import DidResolver
from ingest.relay.intake_ports import Repairs
from ingest.relay.lines import Lines
from ingest.relay.reasons import RelayReason
from ingest.relay.source import Numbered, Source
from ingest.relay.told_store import Told
from ingest.relay.weight import weight
from ingest.repo.messages import AccountMessage, CommitMessage, IdentityMessage, SyncMessage
from schemas.errors import Refused
from schemas.syntax import Did

ACCOUNTS_MAX = 100_000
HELD_MESSAGES = 200  # of an account
HELD_BYTES = 64 << 20  # of all
AT_ONCE = 16
_TRIES_WEB = 12
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0

Take = Callable[[Source, Numbered], Awaitable[str]]


class Stranger:
    """An account that waits. `lost`: there was no room for all of its messages."""

    __slots__ = ("did", "draining", "held", "lost", "size", "tries")

    def __init__(self, did: Did, tries: int = 0) -> None:
        self.did = did
        self.held: list[tuple[Source, Numbered]] = []
        self.size = 0
        self.tries = tries
        self.lost = False
        self.draining = False


class SavedWords(Protocol):
    """What accounts that wait said of themselves: of each host the newest of a kind."""

    def put(self, host: str, message: Told) -> None: ...

    def drop(self, did: Did) -> None: ...

    def all(self) -> list[tuple[str, Told]]: ...


class Saved(Protocol):
    """What is known of accounts that wait after a crash, written with the cursors."""

    @property
    def told(self) -> SavedWords: ...

    def put_repair(self, did: Did, url: str, tries: int) -> None:
        """Its repo is to be fetched."""
        ...

    def drop_repair(self, did: Did) -> None: ...


class Strangers:
    """`hold` messages; `run` until cancelled. `take` is `Intake.take`."""

    def __init__(
        self,
        take: Take,
        lines: Lines,
        resolver: DidResolver,
        repairs: Repairs,
        saved: Saved,
        *,
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        self._take = take
        self._lines = lines
        self._resolver = resolver
        self._repairs = repairs
        self._saved = saved
        self._first_pause = first_pause
        self._waiting: dict[str, Stranger] = {}
        self._queues: dict[str, list[tuple[float, int, Stranger]]] = {"plc": [], "web": []}
        self._number = 0
        self._under_way: Counter[str] = Counter()
        self._woken = asyncio.Event()
        self.held_bytes = 0
        self.messages = 0
        """Held now."""
        self.given_up = 0
        """Accounts of which messages were let go and that could not be fetched either."""

    def __len__(self) -> int:
        """Accounts that wait."""
        return len(self._waiting)

    def holds(self, did: str) -> bool:
        """HOT: whether what comes of the account is to be held too."""
        found = self._waiting.get(did)
        return found is not None and not found.draining

    def waits(self, did: str) -> bool:
        """Whether some of what comes of the account is held or is being taken."""
        return did in self._waiting

    def recall(self, host: Callable[[str], Source | None]) -> None:
        """At the start: hold again what was held when the process ended, of hosts that are still read."""
        said = self._saved.told.all()
        # What is not held again is forgotten: a later start would tell what has been overtaken since.
        for _, message in said:
            self._saved.told.drop(message.did)
        for name, message in said:
            source = host(name)
            if source is None:
                continue
            try:
                self.hold(source, message)
            except Refused as refused:
                source.refused(refused, message.did)

    def hold(self, source: Source, message: Numbered) -> None:
        """Keep a message until it can be told who its account is. Raises Refused(CATCHING_UP) without room."""
        did = message.did
        stranger = self._waiting.get(did)
        if stranger is None or stranger.draining:
            if stranger is None and len(self._waiting) >= ACCOUNTS_MAX:
                raise Refused(RelayReason.CATCHING_UP, f"{ACCOUNTS_MAX} accounts wait to be told who they are: {did}")
            stranger = self._waiting[did] = Stranger(did, 0 if stranger is None else stranger.tries + 1)
            self._put(stranger)
        of_repo = isinstance(message, CommitMessage | SyncMessage)
        if not self._repairs.holds(did):
            self._saved.put_repair(did, "", 0)
        size = weight(message)
        full = len(stranger.held) >= HELD_MESSAGES or self.held_bytes + size > HELD_BYTES
        if full or (of_repo and stranger.lost):
            stranger.lost = True
            raise Refused(RelayReason.CATCHING_UP, f"{did}: no room to hold what comes before it is known who it is")
        if isinstance(message, AccountMessage | IdentityMessage):
            self._saved.told.put(source.name, message)
        stranger.held.append((source, message))
        stranger.size += size
        self.held_bytes += size
        self.messages += 1

    async def run(self) -> None:
        """Try who is due, until cancelled. An error of ours ends it and is raised."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._woken.clear()
                pause = self._start_due(tasks)
                try:
                    async with asyncio.timeout(pause):
                        await self._woken.wait()
                except TimeoutError:
                    continue

    def _start_due(self, tasks: asyncio.TaskGroup) -> float | None:
        """Start what may be; the seconds until something else may."""
        clock = asyncio.get_running_loop().time()
        pauses = []
        for method, queue in self._queues.items():
            while queue and self._under_way[method] < AT_ONCE:
                due, _, stranger = queue[0]
                if due > clock:
                    pauses.append(due - clock)
                    break
                heapq.heappop(queue)
                self._under_way[method] += 1
                tasks.create_task(self._ask(stranger, method))
        return min(pauses, default=None)

    async def _ask(self, stranger: Stranger, method: str) -> None:
        url: str | None = None
        away: IdentityRefused | None = None
        try:
            # What is remembered is that it could not be told.
            url = (await self._resolver.did_document(stranger.did, refresh=True)).pds
        except Refused as refused:
            stranger.tries += 1
            transient = refused if isinstance(refused, IdentityRefused) and refused.transient else None
            if transient and (stranger.did.method != "web" or stranger.tries < _TRIES_WEB):
                self._put(stranger)
                return
            away = transient
        else:
            stranger.tries = 0
        finally:
            self._under_way[method] -= 1
            self._woken.set()
        await self._lines.in_line(stranger.did, self._drain(stranger, url, away))

    async def _drain(self, stranger: Stranger, url: str | None, away: IdentityRefused | None) -> None:
        """In the account's line: take what was held; what cannot be told once more is held anew.

        `away`: why it is no longer waited for.
        """
        stranger.draining = True
        held, stranger.held = stranger.held, []
        self.held_bytes -= stranger.size
        self.messages -= len(held)
        for source, message in held:
            if away is not None:
                source.refused(away, message.did)
                continue
            try:
                source.took(await self._take(source, message), message)
            except Refused as refused:
                source.refused(refused, message.did)
        anew = self._waiting[stranger.did]
        if anew is not stranger:
            anew.lost |= stranger.lost
            return
        del self._waiting[stranger.did]
        self._saved.told.drop(stranger.did)
        if self._repairs.holds(stranger.did):
            return
        if stranger.lost:
            try:
                self._repairs.begin(stranger.did, url)
            except Refused:
                self.given_up += 1
            return
        self._saved.drop_repair(stranger.did)

    def _put(self, stranger: Stranger) -> None:
        pause = min(_LAST_PAUSE, self._first_pause * 2.0 ** min(stranger.tries, 10))
        due = asyncio.get_running_loop().time() + pause * (0.5 + random.random())  # noqa: S311 - nothing to guess
        self._number += 1
        queue = self._queues["web" if stranger.did.method == "web" else "plc"]
        heapq.heappush(queue, (due, self._number, stranger))
        self._woken.set()
