"""The log as a relay of a cluster has it: `ingest.relay.parts.RelayLog` on Kafka.

1. An entry is judged here first, by the account's head as derive will have it: derived heads, and over them what was
   appended and is not judged yet. An account's entries are judged and sent one at a time.
2. derive's verdict is the net: a head that is wrong here costs an entry that is in `commits` and in nothing derived.
   Its account is told to whoever follows, who catches up with it.
3. A start takes nothing before derive has come to the end that `commits` had, and tells of what the process before it
   wrote and derive refused.
4. Two relays may write to one log: what both say is accepted once.

Does not own the view, its following and the producer (the files beside it), nor verification (`ingest.relay`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from ingest.derive import did_of
from ingest.log import Appended, Head, Reason, Rejected
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.pds.read import ShardReader
from ingest.log_kafka.relay.appender import Appender
from ingest.log_kafka.relay.follow import Follower
from ingest.log_kafka.relay.turns import Turns
from ingest.log_kafka.relay.undecided import Undecided, is_below, is_partial_above
from ingest.log_kafka.relay.view import FILE, RelayView
from ingest.log_kafka.topics import topic_ids
from ingest.next_head import next_head
from ingest.verdict import Reject, accept
from schemas.crash import point
from schemas.entries import Commit, Diff, Entry, Sync
from schemas.entry_codec import decode, encode
from schemas.syntax import Did
from schemas.topics import COMMITS, RECORDS, shard_of

RELAY_HEADER = "relay"

_log = structlog.get_logger()


class KafkaRelayLog:
    """Make one with `await KafkaRelayLog.open(...)`."""

    def __init__(self, settings: KafkaSettings, view: RelayView, now: Callable[[], int]) -> None:
        self._settings = settings
        self._view = view
        self._now = now
        self._shards = len(view.at)
        self._clock = 0
        self._turns = Turns()
        self._sending: set[asyncio.Task[Appended]] = set()
        self._undecided = Undecided(self._shards)
        self._follower = Follower(settings, view, self._derived)
        self._appender = Appender(settings, [(RELAY_HEADER, view.relay.encode())])
        self._following: asyncio.Task[None]
        self._stack = contextlib.AsyncExitStack()
        self._refused: Callable[[Did], None] | None = None
        self._untold: dict[Did, None] = {}
        self._committed: Callable[[int, float], None] = lambda _, __: None
        self.appended = 0
        self.refused = 0
        """Accounts whose entries derive refused, and that were left below them."""
        self.rejected: Counter[Reason] = Counter()
        """Entries refused before they were sent, by reason."""

    @classmethod
    async def open(
        cls,
        settings: KafkaSettings,
        directory: Path,
        shards: int,
        *,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        committed: Callable[[int, float], None] = lambda _, __: None,
    ) -> KafkaRelayLog:
        """Know every head up to the end of `commits` as it is now; waits for derive.

        The topics exist. `committed` is told the entries and the seconds of each
        append. Raises InvariantError for a file that is another's; KafkaError, OSError or TimeoutError when the broker
        is away.
        """
        topic = (await topic_ids(settings, [RECORDS]))[RECORDS]
        view = RelayView(directory / FILE, cluster=settings.cluster, topic=topic, shards=shards)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(view.close)
            log = cls(settings, view, now)
            log._committed = committed
            stack.push_async_callback(log._follower.close)
            await log._follower.open(topic)
            log._following = asyncio.get_running_loop().create_task(log._follower.run(), name="relay-log")
            stack.push_async_callback(_end, log._following)
            await log._catch_up()
            stack.push_async_callback(log._appender.close)
            await log._appender.start()
            log._stack = stack.pop_all()
        return log

    async def append(self, entry: Entry) -> Appended:
        """Returns when it is in `commits` and the verdict, as far as it is known here, takes it. Raises Rejected.

        Who is cancelled while it is sent leaves it to be known all the same.
        """
        await self._undecided.room()
        task = asyncio.get_running_loop().create_task(self._append(entry))
        self._sending.add(task)
        task.add_done_callback(self._sent)
        return await asyncio.shield(task)

    def head(self, did: str) -> Head | None:
        """HOT: as it will be once all that was appended is derived."""
        return self._undecided.head(did) if did in self._undecided else self._view.head(did)

    async def settled(self, did: Did) -> None:
        async with self._turns.of(did):
            await self._undecided.settled(did)

    def cids(self, did: str, after: str = "", limit: int = 1000) -> list[tuple[str, bytes]]:
        return self._view.cids(did, after, limit)

    def follow(self, refused: Callable[[Did], None]) -> None:
        """Tell of accounts of which the log holds less than was appended: what the start found, and from now on."""
        self._refused = refused
        for did in self._untold:
            refused(did)
        self._untold.clear()

    @property
    def undecided(self) -> int:
        """Entries that derive has not judged yet."""
        return self._undecided.count

    @property
    def repeated(self) -> int:
        """Entries that were sent anew since it was not known whether they are in the log."""
        return self._appender.repeated

    async def stopped(self) -> BaseException:
        """Waits until it has stopped by itself, and says why."""
        await asyncio.wait((self._following,))
        cause = None if self._following.cancelled() else self._following.exception()
        return cause or RuntimeError("the relay's log was closed")

    async def close(self) -> None:
        """What is under way is given up after a moment: cursors have not passed it."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._stack.aclose()

    # --- appending ---

    async def _append(self, entry: Entry) -> Appended:
        did = did_of(entry)
        async with self._turns.of(did):
            begun = time.monotonic()
            self._clock = max(self._clock + 1, self._now())
            stamped = msgspec.structs.replace(entry, time=self._clock)
            head = self.head(did)
            verdict = accept(head, stamped)
            if isinstance(verdict, Reject):
                self.rejected[verdict.reason] += 1
                raise Rejected(verdict.reason, verdict.detail, head)
            after = next_head(head, stamped, partial=verdict.partial)
            shard = shard_of(did, self._shards)
            point("log.before_commit")
            offset = await self._appender.put(shard, did.encode(), encode(stamped))
            point("log.after_commit")
            if after is not None:
                after = msgspec.structs.replace(after, commit_block=None)
            self._undecided.put(shard, offset, did, after)
            if self._view.done[shard] >= offset:
                self._derived(shard)
            self.appended += 1
            self._committed(1, time.monotonic() - begun)
            return Appended(shard, offset, None, stamped.time, 0)

    def _sent(self, task: asyncio.Task[Appended]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            task.exception()  # whoever appended was told, unless it was cancelled

    # --- what derive says ---

    def _derived(self, shard: int) -> None:
        """Derive has come further in a shard."""
        for did in self._undecided.decide(shard, self._view.done[shard], self._view.head):
            self._tell(did)

    def _tell(self, did: Did) -> None:
        self.refused += 1
        _log.warning("the log holds less of an account than was appended: it is caught up with", did=did)
        if self._refused is None:
            self._untold[did] = None
        else:
            self._refused(did)

    async def _catch_up(self) -> None:
        """Up to the end of `commits`; what the process before this wrote behind the view's place is looked at."""
        before = list(self._view.done)
        async with ShardReader(self._settings, COMMITS, self._shards) as commits:
            begins, ends = await commits.begins(), await commits.ends()
            reaching = asyncio.ensure_future(self._follower.reached(ends))
            await asyncio.wait((reaching, self._following), return_when=asyncio.FIRST_COMPLETED)
            if self._following.done():
                reaching.cancel()
                self._following.result()
            await reaching
            mine = (RELAY_HEADER, self._view.relay.encode())
            for shard, place in enumerate(before):
                if not place:
                    continue  # a view from nothing: no process before this one has left a word of where it was
                async for page in commits.read(shard, max(place, begins[shard]), ends[shard]):
                    for message in page:
                        if mine in message.headers:
                            self._look_at(decode(message.value or b""))

    def _look_at(self, entry: Entry) -> None:
        """One of the process before this, and judged by now."""
        if isinstance(entry, Commit | Sync | Diff):
            expected = Head(entry.did, entry.rev, partial=not isinstance(entry, Diff))
            head = self._view.head(entry.did)
            if (is_below(head, expected) or is_partial_above(head, expected)) and entry.did not in self._untold:
                self._tell(entry.did)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
