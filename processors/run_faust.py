"""The processors of a cluster under Faust: it hosts the worker, its membership and its agents, and feeds lanes.

Faust is not trusted with what lanes promise: progress is the store's, offsets are committed by us after it, an event is
never acknowledged (`noack`). Where a shard begins is verified in the agent: events come before an assignment has been
told of, and a seek may be undone, so that a lane is given events only once its stream is seen to have come from its
saved progress. The twin of `run_plain`; does not own lanes, nor what else Faust may not do (`faust_app.py`).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import faust
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from ingest.log_kafka.client import KafkaSettings, new_producer
from processors.faust_app import build_app
from processors.lanes.hops_kafka import KafkaHops
from processors.lanes.lane import LaneStore
from processors.lanes.markers_kafka import Markers
from processors.lanes.shards import Lanes, Place, Skips, no_skips
from processors.lanes.slot import Slot, slot_message
from processors.lanes.sparing import spare
from processors.run_plain import bounded, group_of, topics_of
from schemas.errors import InvariantError
from views.view import FanoutSettings, View

_log = structlog.get_logger(__name__)

_COMMIT_SECONDS = 1.0
GUARD_SECONDS = 8.0


class FaustRunner:
    """`start` joins the group, `stop` drains and leaves it; after 8 s of that the process ends itself."""

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
        self._slots: dict[Place, Slot] = {}
        self._app: faust.App | None = None
        self._producer: AIOKafkaProducer | None = None
        self._markers = Markers(kafka)
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
        await self._markers.start()
        self._lanes = Lanes(
            self._store,
            KafkaHops(self._producer, self.topics),
            self._views,
            shards=self._shards,
            settings=self._settings,
            skips=self._skips,
            held=self._held,
            on_failure=self._failed,
        )
        app = self._app = build_app(self._kafka, self._group, list(self._names), self._feed)
        signals: Any = app
        signals.on_partitions_assigned.connect(self._assigned)
        signals.on_partitions_revoked.connect(self._revoked)
        spare("aiokafka", "faust", "mode")
        await app.start()
        self._committing = asyncio.create_task(self._commit_forever())

    async def stop(self) -> None:
        guard = threading.Timer(GUARD_SECONDS, _end_process)
        guard.daemon = True
        guard.start()
        if self._committing is not None:
            self._committing.cancel()
        for slot in self._slots.values():
            slot.close()
        if self._lanes is not None:
            self._lanes.stopping = True
            await self._lanes.close()
        # Faust's consumer has a thread that is no daemon: one that hangs keeps the process, and the guard ends it.
        left = self._app is None or await bounded(_stopped(self._app), GUARD_SECONDS)
        await bounded(self._markers.stop())
        if self._producer is not None:
            await bounded(self._producer.stop())
        if left:
            guard.cancel()

    def _failed(self, failure: BaseException) -> None:
        for slot in self._slots.values():
            slot.close()
        if self._on_failure is not None:
            self._on_failure(failure)

    async def _feed(self, stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            slot = self._slot(TP(message.topic, message.partition))
            if slot is not None:
                await slot.put(slot_message(message))

    async def _assigned(self, _app: Any, assigned: Iterable[TP], **_: Any) -> None:
        for tp in assigned:
            self._slot(tp)

    async def _revoked(self, _app: Any, revoked: Iterable[TP], **_: Any) -> None:
        places = [(self._names[tp.topic], tp.partition) for tp in revoked if tp.topic in self._names]
        for place in places:
            slot = self._slots.pop(place, None)
            if slot is not None:
                slot.close()
        await self.lanes.close(places)

    def _slot(self, tp: TP) -> Slot | None:
        """Of a partition that is ours; it opens with its first event or its assignment, whichever comes first."""
        place = (self._names[tp.topic], tp.partition)
        if self.lanes.stopping or self.lanes.failure is not None or self._app is None or self._app.should_stop:
            return None
        slot = self._slots.get(place)
        if slot is None:
            slot = self._slots[place] = Slot(self.lanes, place, tp, self._seek, self._markers)
            slot.start()
        return slot

    async def _seek(self, tp: TP, position: int) -> None:
        consumer: Any = None if self._app is None else self._app.consumer
        try:
            await consumer.seek_saved(tp, position)
        except (IllegalStateError, KafkaError) as error:
            _log.debug("views.seek_failed", tp=tp, position=position, error=repr(error))  # no longer ours

    async def _commit_forever(self) -> None:
        """For whoever exports lag: nothing of ours reads these offsets."""
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            consumer: Any = None if self._app is None else self._app.consumer
            offsets = {
                TopicPartition(self.topics[topic], shard): lane.offset
                for (topic, shard), lane in self.lanes.lanes.items()
            }
            try:
                await consumer.commit_saved(offsets)
            except (KafkaError, IllegalStateError, ConsumerNotStarted) as error:
                _log.debug("views.commit_failed", error=repr(error))


async def _stopped(app: faust.App) -> None:
    await app.stop()


def _end_process() -> None:
    _log.critical("views.ended_by_guard", seconds=GUARD_SECONDS)
    os._exit(75)
