"""derive as a process: takes shards of `commits`, and runs a lane for each (`ingest.log_kafka.derive.lane`).

Shards come by consumer group, or as a fixed list. The group decides only who has which shard: every lane reads for
itself, and the log, not the group, sees to it that two owners of a shard do no harm. At every rebalance lanes end after
their transaction, and shards are taken anew. When a lane stops by itself the worker has failed: the process ends.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener

from ingest.derive import STEP
from ingest.log import Reason
from ingest.log_kafka.client import KafkaSettings, new_consumer
from ingest.log_kafka.derive.lane import MAX_BATCH, Counts, Lane, Skips
from ingest.log_kafka.truncate import derive_group
from schemas.errors import InvariantError
from schemas.topics import COMMITS

CLOSE_SECONDS = 8.0
_POLL_MS = 500


class DeriveWorker(ConsumerRebalanceListener):  # type: ignore[misc]
    """`await start()`, `await stopped()` for its failure, `await stop()`.

    `directory` holds a state file a shard; one that is lost is made again from the log. `only`: these shards, without
    a group. A transaction holds at most `batch` entries of `commits`, and `step` derived ones of an expansion.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        directory: Path,
        shards: int,
        *,
        only: Collection[int] | None = None,
        step: int = STEP,
        batch: int = MAX_BATCH,
        skips: Skips | None = None,
    ) -> None:
        self._skips = skips
        self._kafka = kafka
        self._directory = directory
        self._shards = shards
        self._only = only
        self._step = step
        self._batch = batch
        self._counts = Counts()
        self._lanes: dict[int, Lane] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._group: AIOKafkaConsumer | None = None
        self._member: asyncio.Task[None] | None = None
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._only is not None:
            self._take(self._only)
            return
        self._group = group = new_consumer(self._kafka, group=derive_group(self._kafka))
        await group.start()
        group.subscribe([self._kafka.topic(COMMITS)], listener=self)
        self._member = asyncio.create_task(self._be_member(group), name="derive.member")

    async def stop(self) -> None:
        """End every lane after its transaction, and leave the group."""
        await self._leave()
        if self._member is not None:
            self._member.cancel()
            await asyncio.wait((self._member,))
        if self._group is not None:
            await self._group.stop()

    @property
    def failure(self) -> BaseException | None:
        return self._failed.result() if self._failed.done() else None

    async def stopped(self) -> BaseException:
        """Waits until a lane has stopped by itself, and says why; the composition root ends the process then."""
        return await asyncio.shield(self._failed)

    @property
    def entries(self) -> int:
        """Entries of `commits` judged."""
        return self._counts.entries

    @property
    def transactions(self) -> int:
        return self._counts.transactions

    @property
    def rejected(self) -> Counter[Reason]:
        return self._counts.rejected

    @property
    def places(self) -> Mapping[int, int]:
        """The shards that this worker has, and the offset of `commits` each is derived to."""
        return {shard: lane.place.done for shard, lane in self._lanes.items()}

    @property
    def open_transaction_seconds(self) -> float:
        """How long the oldest open transaction in `commits` has hidden what comes after it; 0 when none does.

        Alert when it exceeds the transaction timeout: the broker should have aborted it.
        """
        return max((lane.open_transaction_seconds for lane in self._lanes.values()), default=0.0)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002 - all of them
        await self._leave()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        if self._group is not None and assigned:
            self._group.pause(*assigned)  # lanes read for themselves
        self._take([partition.partition for partition in assigned])

    def _take(self, shards: Collection[int]) -> None:
        for shard in shards:
            if shard >= self._shards:
                self._fail(InvariantError(f"{COMMITS} has a shard {shard}, expected {self._shards} shards"))
                return
            self._lanes[shard] = lane = Lane(
                self._kafka,
                self._directory,
                shard,
                self._counts,
                step=self._step,
                batch=self._batch,
                skips=self._skips,
            )
            self._tasks[shard] = asyncio.create_task(self._keep(lane), name=f"derive.{shard}")

    async def _leave(self) -> None:
        """End the lanes; one that does not end in time is cancelled, and its transaction aborted by the next owner."""
        tasks = list(self._tasks.values())
        for lane in self._lanes.values():
            lane.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=CLOSE_SECONDS)
        self._lanes.clear()
        self._tasks.clear()

    async def _keep(self, lane: Lane) -> None:
        try:
            await lane.open()
            await lane.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker has failed and says so
            self._fail(error)
        finally:
            await lane.close()

    async def _be_member(self, group: AIOKafkaConsumer) -> None:
        """Be seen to be alive; nothing is fetched, as everything is paused."""
        try:
            while True:
                await group.getmany(timeout_ms=_POLL_MS)
        except Exception as error:  # noqa: BLE001 - as a lane's
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_result(error)
