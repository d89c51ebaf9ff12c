"""Lanes without a broker: hops in memory, a store that may be torn, and workers that die, come back and overlap.

`Torn` is SQLite that writes as a CQL store does: in waves, each key at its version, an older write losing; a crash may
fall between any two waves. With `versions=False` it forgets what versions are for. Does not own what must hold.
"""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

from processors.decode import Decoder
from processors.lanes.lane import Lane
from processors.lanes.stages import Message
from processors.plan import Plan
from schemas import operations, records_codec
from schemas.lexicon import load
from schemas.topics import EDGES, FANOUT, OPERATIONS, RECORDS
from schemas.tracing import NO_TRACES
from views import ALL
from views.cql.order import Partitions, waves
from views.store import Batch, Progress
from views.store_sqlite import SqliteStore
from views.view import FanoutSettings

PLAN = Plan(ALL)
CATALOGUE = load()


class Killed(BaseException):
    """The worker died here."""


class Torn(SqliteStore):
    """`tear` is how many acknowledged waves a batch gets before the worker dies; None for all of them."""

    def __init__(self, path: Path, *, versions: bool = True) -> None:
        super().__init__(path, [view.table for view in ALL])
        self.versioned = versions
        self.tear: int | None = None
        self.torn = 0
        self.lost = 0
        """Writes that lost to a newer one."""
        self._versions: dict[tuple, tuple[int, bool]] = {}
        self.watermarks: dict[tuple[str, int, int], tuple[int, ...]] = {}
        self.reached: dict[tuple[str, int], int] = {}

    async def reach(self, topic: str, shard: int, offset: int) -> None:
        if self._newer(("reach", topic, shard), (offset, True)):
            self.reached[topic, shard] = offset

    async def apply(self, batch: Batch) -> None:
        for number, wave in enumerate(waves(batch)):
            if self.tear == number:
                self._die()
            await self.write(batch, wave)
        if self.tear is not None:
            self._die()
        await self.save(batch)

    async def write(self, batch: Batch, partitions: Partitions) -> None:
        part = Batch({}, {}, {}, {})
        for table, partition, rows, statics in partitions:
            for key, row in rows.items():
                version = batch.versions[table][partition][key]
                if self._newer((table, partition, key), (version, row is not None)):
                    part.rows.setdefault(table, {}).setdefault(partition, {})[key] = row
            if statics is not None:
                version = batch.static_versions[table][partition]
                if self._newer((table, partition), (version, True)):
                    part.statics.setdefault(table, {})[partition] = statics
        await super().apply(part)

    async def save(self, batch: Batch) -> None:
        """One partition, at the version of its position: what a zombie saves changes nothing that is newer."""
        (place,) = batch.vector
        position = (batch.vector[place], True)
        rises = {place: at for place, at in batch.vector.items() if self._newer(("position", place), position)}
        marks = {mark: at for mark, at in batch.marks.items() if self._newer(("mark", mark), position)}
        await super().apply(Batch({}, {}, rises, marks))
        for sender, at in batch.watermarks.items():
            if self._newer(("watermark", sender), position):
                self.watermarks[sender] = at

    def _die(self) -> None:
        self.tear = None
        self.torn += 1
        raise Killed

    def _newer(self, key: tuple, version: tuple[int, bool]) -> bool:
        had = self._versions.get(key)
        if self.versioned and had is not None and had > version:
            self.lost += 1
            return False
        self._versions[key] = version
        return True

    async def progress_of(self, topic: str, shard: int) -> Progress:
        whole = await self.progress()
        return Progress(
            {key: at for key, at in whole.vector.items() if key == (topic, shard)},
            {key: at for key, at in whole.marks.items() if key[:2] == (topic, shard)},
            {key: at for key, at in self.watermarks.items() if key[:2] == (topic, shard)},
            {key: at for key, at in self.reached.items() if key == (topic, shard)},
        )


class MemoryHops:
    """`die` counts down the messages until the worker dies; some messages come twice."""

    def __init__(self, dice: random.Random, *, doubled: float = 0.0) -> None:
        self.topics: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        self.dice = dice
        self.doubled = doubled
        self.die: int | None = None

    async def send(self, messages, traces=NO_TRACES) -> None:  # noqa: ARG002 - nobody looks
        for hop, shard, value, _ in messages:
            if self.die is not None:
                self.die -= 1
                if self.die < 0:
                    self.die = None
                    raise Killed
            topic = self.topics[hop, shard]
            topic.append(value)
            if topic and self.dice.random() < self.doubled:
                topic.append(self.dice.choice(topic[-30:]))


class Rig:
    """All lanes of one generation over a log whose records are given; `step` is one batch of one lane."""

    def __init__(
        self, store: Torn, hops: MemoryHops, shards: int, settings: FanoutSettings, dice: random.Random
    ) -> None:
        self.store = store
        self.hops = hops
        self.shards = shards
        self.settings = settings
        self.dice = dice
        self.records: list[list[Message]] = [[] for _ in range(shards)]
        self.operations: list[list[Message]] = [[] for _ in range(shards)]
        self.lanes: dict[tuple[str, int], Lane] = {}
        self.decoder = Decoder(CATALOGUE, PLAN.collections)
        self.dropped = 0

    async def read(self, log) -> None:
        """Everything of an embedded log; offsets have gaps, as transactions leave them."""
        for shard in range(self.shards):
            self.records[shard] = messages = []
            for n, entry in enumerate(await log.read_records(shard, 0, 1_000_000), 1):
                key, value, headers = records_codec.encode(entry)
                messages.append(Message(n + n // 3, key, value, headers, 0))
            self.operations[shard] = [
                Message(each.offset + each.offset // 3, *operations.encode(each), 0)
                for each in await log.read_operations(shard, 0, 1_000_000)
            ]

    async def lane(self, topic: str, shard: int) -> Lane:
        lane = self.lanes.get((topic, shard))
        if lane is None:
            lane = self.lanes[topic, shard] = await self.new(topic, shard)
        return lane

    async def new(self, topic: str, shard: int) -> Lane:
        lane = Lane(
            topic,
            shard,
            shards=self.shards,
            plan=PLAN,
            decoder=self.decoder,
            store=self.store,
            hops=self.hops,
            settings=self.settings,
        )
        await lane.open()
        return lane

    def waiting(self, topic: str, shard: int, after: int) -> list[Message]:
        if topic == RECORDS:
            return [message for message in self.records[shard] if message.offset > after]
        if topic == OPERATIONS:
            return [message for message in self.operations[shard] if message.offset > after]
        values = self.hops.topics[topic, shard][after:]
        return [Message(after + place, None, value) for place, value in enumerate(values, 1)]

    async def step(self, lane: Lane, size: int) -> bool:
        """False when there was nothing."""
        messages = self.waiting(lane.topic, lane.shard, lane.given)[:size]
        if messages:
            await lane.take(messages)
        return bool(messages)

    def kill(self, topic: str, shard: int) -> Lane | None:
        """Forget what is in memory; the lane may go on as a zombie."""
        return self.lanes.pop((topic, shard), None)

    async def settle(self, size: int = 500) -> None:
        places = [(topic, shard) for topic in (RECORDS, OPERATIONS, EDGES, FANOUT) for shard in range(self.shards)]
        more = True
        while more:
            more = False
            for place in places:
                lane = await self.lane(*place)
                while await self.step(lane, size):
                    more = True
                lane._told_at = 0.0
                due = lane.seconds_to_tell()
                await lane.idle()
                more = more or due is not None
