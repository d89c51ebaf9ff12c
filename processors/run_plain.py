"""The processors of a cluster over aiokafka alone: one consumer into the lanes of its shards. The twin of `run_faust`.

The group says which shards are ours; the store says where each begins. What a worker does that has lost a shard and
does not know yet is harmless: its writes are older versions, its messages are under the marks. Group offsets are
committed after progress, for whoever exports lag. Does not own lanes (`processors.lanes.lane`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from ingest.log_kafka.client import KafkaSettings, new_consumer, new_producer
from processors.lanes.hops_kafka import KafkaHops
from processors.lanes.inflow_kafka import Inflow
from processors.lanes.lane import LaneStore
from processors.lanes.shards import TOPICS, Lanes, Place, Skips, no_skips
from processors.lanes.sparing import spare
from processors.lanes.stages import SOURCES
from schemas.errors import InvariantError
from schemas.topics import hop
from views.view import FanoutSettings, View

_log = structlog.get_logger(__name__)

_COMMIT_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0  # for a broker that is away while shards are taken
_WAIT_MS = 100  # how long a partition that was left out of a request may wait for it
_AWAY_SECONDS = 3.0  # what the broker gets to say goodbye


class PlainRunner:
    """`start` joins the group, `stop` drains and leaves it in bounded time, `failure` says why it stopped by itself."""

    def __init__(
        self,
        kafka: KafkaSettings,
        store: LaneStore,
        views: Sequence[View],
        *,
        generation: str,
        shards: int,
        settings: FanoutSettings | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
        skips: Skips = no_skips,
        held: bool = False,
    ) -> None:
        self._kafka = kafka
        self.topics = topics_of(kafka, generation)
        self._names = {name: topic for topic, name in self.topics.items()}
        self._group = group_of(kafka, generation)
        self._store = store
        self._views = views
        self._shards = shards
        self._settings = settings
        self._on_failure = on_failure
        self._skips = skips
        self._held = held
        self._lanes: Lanes | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._inflow: Inflow | None = None
        self._producer: AIOKafkaProducer | None = None
        self._committing: asyncio.Task[None] | None = None

    @property
    def lanes(self) -> Lanes:
        if self._lanes is None:
            raise InvariantError("the runner has not been started")
        return self._lanes

    @property
    def failure(self) -> BaseException | None:
        return None if self._lanes is None else self._lanes.failure

    @property
    def ready(self) -> bool:
        return self._lanes is not None and self._lanes.failure is None

    async def start(self) -> None:
        self._producer = new_producer(self._kafka)
        await self._producer.start()
        self._lanes = Lanes(
            self._store,
            KafkaHops(self._producer, self.topics),
            self._views,
            shards=self._shards,
            settings=self._settings,
            skips=self._skips,
            held=self._held,
            on_failure=self._on_failure,
        )
        consumer = self._consumer = new_consumer(self._kafka, group=self._group, wait_ms=_WAIT_MS)
        self._inflow = Inflow(consumer, self._lanes.fail)
        consumer.subscribe(list(self._names), listener=_Listener(self))
        spare("aiokafka")
        await consumer.start()
        self._inflow.start()
        self._committing = asyncio.create_task(self._commit_forever(consumer))

    async def stop(self) -> None:
        """Within 5 s for the lanes and 3 s each for consumer and producer when the broker is away."""
        if self._committing is not None:
            self._committing.cancel()
        if self._lanes is not None:
            self._lanes.stopping = True
            await self._lanes.close()
            if self._consumer is not None and self._lanes.failure is None:
                await bounded(self._commit(self._consumer))
        if self._inflow is not None:
            await self._inflow.stop()
        if self._consumer is not None:
            await bounded(self._consumer.stop())
        if self._producer is not None:
            await bounded(self._producer.stop())

    async def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Open the lanes of these partitions where the store says they are."""
        consumer, inflow, lanes = self._consumer, self._inflow, self.lanes
        if consumer is None or inflow is None or lanes.stopping or lanes.failure is not None:
            return
        partitions = sorted(partitions)
        first, end = await self._bounds(consumer, partitions)
        opened = await asyncio.gather(*(lanes.open(self._names[tp.topic], tp.partition) for tp in partitions))
        for tp, lane in zip(partitions, opened, strict=True):
            check_bounds(tp.topic, tp.partition, lane.offset, first[tp], end[tp])
        for tp, lane in zip(partitions, opened, strict=True):
            consumer.seek(tp, lane.offset)
            lanes.run(lane, inflow.open(tp, markers=lane.topic in SOURCES))

    async def _bounds(
        self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """The first and the end of each; the broker may be away for a minute."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                try:
                    return await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
                except KafkaError as error:
                    _log.warning("views.no_bounds", error=repr(error))
                    await asyncio.sleep(1.0)

    async def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        partitions = list(partitions)
        await self.lanes.close([self.place(tp) for tp in partitions])
        if self._inflow is not None:
            self._inflow.close(partitions)

    def place(self, tp: TopicPartition) -> Place:
        return self._names[tp.topic], tp.partition

    async def _commit_forever(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            await bounded(self._commit(consumer))

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        mine = consumer.assignment()
        offsets = {
            tp: lane.offset
            for (topic, shard), lane in self.lanes.lanes.items()
            if (tp := TopicPartition(self.topics[topic], shard)) in mine
        }
        if offsets:
            try:
                await consumer.commit(offsets)
            except (KafkaError, IllegalStateError) as error:
                _log.debug("views.commit_failed", error=repr(error))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """The client logs what is raised here and goes on, so that it is told to the runner."""

    def __init__(self, runner: PlainRunner) -> None:
        self._runner = runner

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._runner.revoked(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        try:
            await self._runner.assigned(assigned)
        except Exception as error:
            self._runner.lanes.fail(error, assigned=sorted(assigned))
            raise


async def bounded(goodbye: Coroutine[Any, Any, object], seconds: float = _AWAY_SECONDS) -> bool:
    """Whether a client said goodbye in time, and well: with the broker away it raises, hangs or is cancelled inside."""
    task = asyncio.create_task(goodbye)
    _, pending = await asyncio.wait([task], timeout=seconds)
    if pending:
        task.cancel()
        _log.warning("views.broker_away", after=seconds)
        return False
    error = None if task.cancelled() else task.exception()
    if task.cancelled() or error is not None:
        _log.warning("views.broker_away", error=repr(error))
        return False
    return True


def topics_of(kafka: KafkaSettings, generation: str) -> dict[str, str]:
    """What the processors of a generation consume: the topic's name by what it is."""
    return {topic: kafka.topic(topic if topic in SOURCES else hop(topic, generation)) for topic in TOPICS}


def group_of(kafka: KafkaSettings, generation: str) -> str:
    return kafka.topic(hop("views", generation))


def check_bounds(topic: str, partition: int, saved: int, first: int, end: int) -> None:
    """Whether a topic holds what follows on saved progress; `first` and `end` are Kafka's."""
    if not first <= saved <= end:
        raise InvariantError(
            f"{topic}[{partition}]: the views have seen up to {saved}, the topic holds {first} to {end}: it was"
            " truncated too far or replaced; build a new generation (`headrace views build`)"
        )
