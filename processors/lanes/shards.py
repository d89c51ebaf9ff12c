"""The lanes of one worker: opened as shards are taken, closed as they are given up, and what they fail of.

What the runners share; which client brings the messages is theirs. A failure of any lane is the worker's: nothing after
it is taken, and whoever runs the worker is told once. Does not own the consumer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import structlog

from processors.decode import Decoder
from processors.lanes.lane import Hops, Lane, LaneStore
from processors.lanes.loop import LaneLoop, Source
from processors.plan import Plan
from schemas.lexicon import load
from schemas.topics import EDGES, FANOUT, OPERATIONS, RECORDS
from views.view import FanoutSettings, View

_log = structlog.get_logger(__name__)

TOPICS = (RECORDS, OPERATIONS, EDGES, FANOUT)
CLOSE_SECONDS = 4.0  # below a session's timeout: afterwards somebody else may have the shard

Place = tuple[str, int]  # topic, shard
Skips = Callable[[str, int], Awaitable[Collection[int]]]


async def no_skips(_topic: str, _shard: int) -> Collection[int]:
    return ()


class Lanes:
    def __init__(
        self,
        store: LaneStore,
        hops: Hops,
        views: Sequence[View],
        *,
        shards: int,
        settings: FanoutSettings | None = None,
        skips: Skips = no_skips,
        held: bool = False,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        """`skips` tells the offsets of a shard that an operator leaves out; `held`: this generation is being built."""
        self._store = store
        self._hops = hops
        self._plan = Plan(views)
        self.decoder = Decoder(load(), self._plan.collections)
        self._shards = shards
        self._settings = settings or FanoutSettings()
        self._skips = skips
        self._held = held
        self._on_failure = on_failure
        self._loops: dict[Place, LaneLoop] = {}
        self.failure: BaseException | None = None
        self.stopping = False
        """No lane begins any more."""
        self.taken = 0
        """Shards taken, ever; `given_up` were not closed in time."""
        self.given_up = 0
        self.entries: dict[str, int] = dict.fromkeys(TOPICS, 0)
        """Messages taken by lanes that are closed, by topic; `busy` are the seconds that these had something to do."""
        self.busy: dict[str, float] = dict.fromkeys(TOPICS, 0.0)

    @property
    def lanes(self) -> dict[Place, Lane]:
        return {place: loop.lane for place, loop in self._loops.items()}

    def shards(self, topic: str) -> list[int]:
        """Those of a topic that this worker has."""
        return [shard for of, shard in self._loops if of == topic]

    async def open(self, topic: str, shard: int) -> Lane:
        """A lane at its saved progress; `run` sets it going."""
        lane = Lane(
            topic,
            shard,
            shards=self._shards,
            plan=self._plan,
            decoder=self.decoder,
            store=self._store,
            hops=self._hops,
            settings=self._settings,
            skipped=await self._skips(topic, shard),
            held=self._held,
        )
        await lane.open()
        self.taken += 1
        return lane

    def run(self, lane: Lane, source: Source) -> None:
        if self.stopping:
            return
        loop = self._loops[lane.topic, lane.shard] = LaneLoop(lane, source)
        loop.start().add_done_callback(lambda task: self._ended(lane, task))

    def _ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self.fail(failure, topic=lane.topic, shard=lane.shard, saved=lane.offset)

    def fail(self, failure: BaseException, **where: object) -> None:
        """Nothing more is taken by anybody here."""
        if self.failure is not None:
            return
        self.failure = failure
        _log.critical("views.stopped", **where, exc_info=failure)
        for loop in self._loops.values():
            loop.halt()
        if self._on_failure is not None:
            self._on_failure(failure)

    async def close(self, places: Iterable[Place] | None = None, seconds: float = CLOSE_SECONDS) -> None:
        """Give up these shards (all when None), each after the batch in hand, within `seconds` (and one more)."""
        wanted = list(self._loops if places is None else places)
        loops = [self._loops.pop(place) for place in wanted if place in self._loops]
        for loop, closed in zip(loops, await asyncio.gather(*(loop.close(seconds) for loop in loops)), strict=True):
            lane = loop.lane
            self.entries[lane.topic] += lane.entries
            self.busy[lane.topic] += lane.busy
            if not closed:
                self.given_up += 1
                _log.warning("lane.given_up", topic=lane.topic, shard=lane.shard, saved=lane.offset)
