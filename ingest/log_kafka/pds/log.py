"""The log as a PDS of a cluster has it: `ingest.log.PdsLog` on Kafka.

1. A start makes the producer first, which fences whoever had this PDS's name and ends what it left open; only then the
   ends of `commits` are taken, and read up to (EXACTNESS 20). Nothing is served before.
2. The verdict is run here, against the heads of this PDS's own accounts: it is their only writer. derive's is the net
   under it: what it refuses comes back in `rejections`, and closes the account until it has been read back.
3. An outcome that is unknown is settled by starting the producer again and reading what lies beyond what is known; who
   finds another instance under its name in the `pds` topic stops for good.
4. Checkpoints are published as the offsets of the group `<cluster>.pds.<name>`: truncation must not pass them.

Does not own transactions, heads, folding and recovery (the files beside it), nor accounts and repos (`ingest.pds`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from ingest.log import Appended, Follower, Head, Reason, Value
from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.pds.fold import read_back, values
from ingest.log_kafka.pds.heads import OwnHeads
from ingest.log_kafka.pds.instance import Instance
from ingest.log_kafka.pds.read import ShardReader
from ingest.log_kafka.pds.recovery import Recovery
from ingest.log_kafka.pds.registry import checkpoint_group
from ingest.log_kafka.pds.rejections import Rejections
from ingest.log_kafka.pds.txn import Transactions
from ingest.log_kafka.pds.writer import Writer
from schemas import tracing
from schemas.entries import Entry
from schemas.entry_codec import decode
from schemas.syntax import Did
from schemas.topics import COMMITS

_ENDS_SECONDS = 1.0

_log = structlog.get_logger()


def _unix_micros() -> int:
    return time.time_ns() // 1000


class KafkaPdsLog:
    """Make one with `await KafkaPdsLog.open(...)`."""

    def __init__(self, settings: KafkaSettings, name: str, shards: int, heads: OwnHeads, commits: ShardReader) -> None:
        self._settings = settings
        self._name = name
        self._heads = heads
        self._commits = commits
        self._txns = Transactions(settings, name, heads.complete)
        self._shards = shards
        self._instance = Instance(settings, name, self._txns)
        self._recovery = Recovery(
            name, heads, commits=commits, instance=self._instance, shards=shards, replay=self._replay
        )
        self._follower: Follower | None = None
        self._stack = contextlib.AsyncExitStack()
        self.rejections = Rejections(settings, heads, self._refused)
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._writer: Writer

    @classmethod
    async def open(
        cls,
        settings: KafkaSettings,
        name: str,
        directory: Path,
        shards: int,
        *,
        domains: Sequence[str] = (),
        host: str = "",
        now: Callable[[], int] = _unix_micros,
        committed: Callable[[int, float], None] = lambda _, __: None,
    ) -> KafkaPdsLog:
        """Fence who had this name, register, and know every own head up to the end of `commits`.

        The topics exist (`ensure_topics`). `domains` are the handle domains that this PDS hands out; `host` is what
        its accounts' DID documents name (host or host:port); `committed` is told the entries and the seconds of each
        commit. Raises InvariantError when another PDS hands out one of them or
        another process takes this name meanwhile; KafkaError, OSError or TimeoutError when the broker is away.
        """
        heads = OwnHeads(directory / "log-heads.sqlite", cluster=settings.cluster, shards=shards)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(heads.close)
            commits = await stack.enter_async_context(ShardReader(settings, COMMITS, shards))
            log = cls(settings, name, shards, heads, commits)
            stack.push_async_callback(log._txns.close)
            await log._instance.register(domains, host)
            await log._recovery.catch_up()
            log._writer = Writer(
                log._txns,
                heads,
                name=name,
                shards=shards,
                group=checkpoint_group(settings, name),
                now=now,
                recover=log._recovery.settle,
                checkpoints=log._checkpoints,
                committed=committed,
            )
            log._writer.task.add_done_callback(log._ended)
            stack.push_async_callback(log._writer.finish)
            stack.push_async_callback(log.rejections.close)
            log._stack = stack.pop_all()
        return log

    # --- ingest.log.Appender ---

    async def append(self, entry: Entry) -> Appended:
        return (await self.append_many((entry,)))[0]

    async def append_many(self, entries: Sequence[Entry]) -> list[Appended]:
        if not entries:
            return []
        tracer = tracing.TRACER
        if tracer is None:
            return await self._writer.put(entries)
        with tracer.span("append commits", attributes={"messaging.batch.message_count": len(entries)}) as span:
            return await self._writer.put(entries, span.header)

    # --- ingest.log.AccountLog ---

    def follow(self, follower: Follower) -> None:
        self._follower = follower
        self.rejections.start().add_done_callback(self._ended)

    async def host(self, dids: Collection[Did]) -> None:
        """Heads that are not here, or may be too old to go on from, are read back: a pass over `records`."""
        wanted = [did for did in dids if not self._heads.known(did) or self._recovery.is_lost(did)]
        if wanted:
            _log.warning("heads are not known here: reading them back", accounts=len(wanted))
            self._heads.put(await read_back(self._settings, self._shards, wanted), {})

    def head(self, did: str) -> Head | None:
        return self._heads.get(did)

    async def settled(self, did: Did) -> None:
        await self._recovery.settled(did)

    async def values(self, dids: Collection[Did]) -> AsyncIterator[list[Value]]:
        heads = {did: self._heads.get(did) for did in dids}
        expected = {did: head.commit for did, head in heads.items() if head is not None and head.commit is not None}
        async for page in values(self._settings, self._shards, expected):
            yield page

    # --- ingest.log.CommitsReader, of our own accounts ---

    @property
    def shards(self) -> int:
        return self._shards

    def commits_end(self, shard: int) -> int:
        return self._recovery.ends[shard] if self._writer.away else self._heads.complete[shard]

    async def read_commits(self, shard: int, after: int, limit: int) -> list[tuple[int, Entry]]:
        found: list[tuple[int, Entry]] = []
        begin, end = (await self._commits.begins())[shard], self._heads.complete[shard]
        async with contextlib.aclosing(self._commits.read(shard, max(after, begin), end)) as pages:
            async for page in pages:
                mine = [m for m in page if self._heads.known((m.key or b"").decode())]
                found += [(m.offset, decode(m.value or b"")) for m in mine]
                if len(found) >= limit:
                    break
        return found[:limit]

    # --- for operators ---

    @property
    def waiting(self) -> int:
        """Groups of entries that wait for the writer: at most `writer.MAX_WAITING`."""
        return self._writer.waiting

    @property
    def appended(self) -> int:
        return self._writer.appended

    @property
    def transactions(self) -> int:
        return self._writer.transactions

    @property
    def unknown(self) -> int:
        """Transactions whose outcome was unknown."""
        return self._writer.unknown

    @property
    def rejected(self) -> Counter[Reason]:
        """Own entries refused before they were sent, by reason."""
        return self._writer.rejected

    @property
    def away(self) -> bool:
        return self._writer.away

    async def stopped(self) -> BaseException:
        """Waits until the log has stopped by itself, and says why; the composition root ends the process then."""
        return await asyncio.shield(self._failed)

    def _ended(self, _: asyncio.Task[None]) -> None:
        failure = self._writer.failure or self.rejections.failure
        if failure is not None and not self._failed.done():
            self._failed.set_result(failure)

    async def close(self) -> None:
        await self._stack.aclose()

    # --- what goes wrong ---

    async def _refused(self, did: Did) -> None:
        """The log refused an entry of ours that we accepted: our head of the account is wrong."""
        self._writer.closed.add(did)
        async with self._writer.idle:
            pass  # what was under way for it is in the log now
        self._heads.put(await read_back(self._settings, self._shards, [did]), {})
        if self._follower is not None:
            await self._follower.reread(did)
        self._writer.closed.discard(did)

    async def _replay(self, found: Sequence[tuple[int, Entry]]) -> None:
        if self._follower is not None:
            await self._follower.replay(found)

    # --- checkpoints ---

    async def _checkpoints(self) -> dict[TopicPartition, int]:
        """What to publish; nothing is under way, so all below the stable ends that is ours is known."""
        complete = self._heads.complete
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_ENDS_SECONDS):
                ends = await self._commits.stable_ends()
            risen = {shard: end for shard, end in enumerate(ends) if end > complete[shard]}
            if risen:
                self._heads.put({}, risen)
        found = {} if self._follower is None else self._follower.checkpoints()
        topic = self._settings.topic(COMMITS)
        return {TopicPartition(topic, shard): min(offset, complete[shard]) for shard, offset in found.items()}
