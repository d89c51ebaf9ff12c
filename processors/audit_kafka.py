"""What an audit of a cluster knows of the log: a few accounts at a time, found by one pass over a shard of `records`.

A log that is split by account and not indexed by it gives one account's entries to who reads the whole shard. So a pass
takes a few accounts together (`processors.audit_sample`), from the beginning to the end seen at its start, at a
bounded rate; while they are audited what is new in the shard is read after it. Whether a record of somebody else is
there is asked of the table `records`, which is itself held against the log from its owner's side.
Does not own what is compared (`processors.audit`), nor which worker passes over which shard, nor when.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from typing import Final

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.pds.read import ShardReader
from processors.audit import Auditor, Reached
from processors.audit_sample import Sample
from processors.lanes.shards import Skips
from processors.rebuild.diff import Difference
from schemas.entries import Derived
from schemas.operations import Operation
from schemas.topics import RECORDS
from views import records
from views.complete import complete
from views.store import Store
from views.view import View

ACCOUNTS: Final = 16  # of one pass
_LOOK_SECONDS: Final = 0.2
_SLEPT_SECONDS: Final = 0.05  # what is owed less than this is owed on


class GivenUpError(Exception):
    """The shard was lost, or the generation is not read any more, while a pass was under way."""


class Pace:
    """At most `rate` a second, in the mean; `spend` before it is done."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free = 0.0

    async def spend(self, number: int) -> None:
        now = time.monotonic()
        self._free = max(self._free, now) + number / self._rate
        if self._free - now > _SLEPT_SECONDS:
            await asyncio.sleep(self._free - now)


class ShardAudits:
    """Audits shard by shard, one at a time. `rate`: messages of the log and rows of the views, a second."""

    def __init__(
        self, kafka: KafkaSettings, store: Store, views: Sequence[View], *, shards: int, rate: float, skips: Skips
    ) -> None:
        self._kafka = kafka
        self._store = store
        self._shards = shards
        self._skips = skips
        self._pace = Pace(rate)
        self._accounts = _ShardAccounts(store)
        self.auditor = Auditor(self._accounts, views, lambda _did, _topic: self._skipped, self._pace.spend)
        self._skipped: Collection[int] = ()

    async def audit(
        self, shard: int, still: Callable[[], Awaitable[bool]], accounts: int = ACCOUNTS
    ) -> list[Difference]:
        """Pass over a shard once, audit the accounts found; what differs is counted, logged and returned.

        `still` says whether this is to go on: GivenUpError when it is not. Raises LogAwayError and KafkaError,
        StoreUnavailableError.
        """
        self._skipped = await self._skips(RECORDS, shard)
        sample = Sample(accounts, random.getrandbits(64), self._skipped)
        found: list[Difference] = []
        async with ShardReader(self._kafka, RECORDS, self._shards) as reader:
            at = (await reader.begins())[shard]
            end = (await reader.stable_ends())[shard]
            async with aclosing(reader.read(shard, at, end)) as pages:
                async for page in pages:
                    for message in page:
                        sample.take(message.offset, message.key, message.value, message.headers)
                    await _go_on(still)
                    await self._pace.spend(len(page))
            sample.draw_no_more()
            self._accounts.begin(reader, shard, sample, end)
            for did in sample.dids:
                await _go_on(still)
                found += await self.auditor.audit(did, self._store, self._reached(still))
                sample.let_go(did)
        return found

    def _reached(self, still: Callable[[], Awaitable[bool]]) -> Reached:
        """Waits for every view of the generation; what one look has found holds for the next question."""
        known: Sequence[int] = (0,) * self._shards

        async def reached(shard: int, offset: int, seconds: float) -> bool:
            nonlocal known
            until = time.monotonic() + seconds
            while known[shard] < offset:
                if time.monotonic() > until:
                    await _go_on(still)
                    return False
                known = complete(await self._store.progress(), self._shards)
                if known[shard] < offset:
                    await asyncio.sleep(_LOOK_SECONDS)
            return True

        return reached


async def _go_on(still: Callable[[], Awaitable[bool]]) -> None:
    if not await still():
        raise GivenUpError


class _ShardAccounts:
    """`processors.audit.Accounts`: those of a sample, while the shard is read on. What accounts set is not audited."""

    topics = (RECORDS,)

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, reader: ShardReader, shard: int, sample: Sample, at: int) -> None:
        """`at`: up to where the sample has seen the shard."""
        self._reader, self._shard, self._sample, self._at = reader, shard, sample, at

    async def sample(self, count: int) -> list[str]:
        return self._sample.dids[:count]

    async def entries(self, did: str, limit: int) -> list[Derived] | None:
        """As of an end that no view is beyond: views take what is committed, and that is below it."""
        end = (await self._reader.stable_ends())[self._shard]
        async with aclosing(self._reader.read(self._shard, self._at, end)) as pages:
            async for page in pages:
                for message in page:
                    self._sample.take(message.offset, message.key, message.value, message.headers)
        self._at = max(self._at, end)
        found = self._sample.entries(did)
        return None if found is None or len(found) > limit else found

    async def operations(self, did: str, limit: int) -> list[Operation] | None:
        raise NotImplementedError

    async def operations_ends(self) -> list[int]:
        raise NotImplementedError

    async def ends(self) -> list[int]:
        return await self._reader.stable_ends()

    async def live(self, asked: Sequence[tuple[str, str]]) -> list[bool]:
        keys = [(did, *path.split("/")) for did, path in asked]
        return [row is not None for row in await self._store.get_many(records.TABLE, keys)]
