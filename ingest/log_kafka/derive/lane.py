"""One shard of derive: from `commits` to `records` and `firehose`, in one Kafka transaction a batch.

Taking a shard, in this order:
1. The producer starts. Its transactional id is the shard's own, so this fences the shard's former owner and ends the
   transaction that it left open. What the broker forgets to end is ended here (`ingest.log_kafka.unclosed`): were it
   left open, the first commit of the new owner would commit it too.
2. Only then the state file is brought up to the end of `records`, which nobody else can move now. A file that goes on
   from a message that the log does not have begins from nothing.
3. The place in `commits` stands in that state: derive goes on there.

A transaction holds the records, the firehose's events, removals of what deleted accounts had set, the place, and the
group's offset for whoever watches lag. The state file follows after the commit. What fails stops the lane: a fenced
owner must not go on (its producer raises ProducerFenced, or AssertionError on commit), and of a transaction whose
outcome is unknown the log knows best.

Does not own what follows from an entry (`ingest.log_kafka.derive.batch`) nor which shards are taken
(`ingest.log_kafka.derive.worker`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from time import monotonic, time_ns

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from ingest.derive import STEP
from ingest.log import Reason
from ingest.log_kafka.client import KafkaSettings, heard, new_consumer, new_producer, stop_producer
from ingest.log_kafka.derive.batch import Batch, Source
from ingest.log_kafka.derive.chunks import KafkaChunks
from ingest.log_kafka.derive.overlay import Overlay
from ingest.log_kafka.derive.owned import KafkaOwned
from ingest.log_kafka.derive.state import ShardFile
from ingest.log_kafka.topics import topic_ids
from ingest.log_kafka.truncate import derive_group
from ingest.log_kafka.unclosed import Unclosed, close_committed, open_of_anyone
from schemas import tracing
from schemas.crash import point
from schemas.entry_codec import decode
from schemas.errors import InvariantError
from schemas.records_codec import DerivePlace, read
from schemas.topics import COMMITS, FIREHOSE, OPERATIONS, RECORDS, REJECTIONS

MAX_BATCH = 500
RESTORE_PAGE = 2000
_POLL_MS = 200
_QUIET_SECONDS = 1.0
_FOREIGN_SECONDS = 30.0
PDS_HEADER = "pds"

_log = structlog.get_logger()

Skips = Callable[[str, int], Awaitable[Collection[int]]]  # topic, shard: offsets


class Counts:
    """What all lanes of a worker have done since it started."""

    def __init__(self) -> None:
        self.entries = 0
        self.transactions = 0
        self.rejected: Counter[Reason] = Counter()


class Lane:
    """`await lane.open()`, then `await lane.run()` until `stop()`, then `await lane.close()`."""

    def __init__(
        self,
        settings: KafkaSettings,
        directory: Path,
        shard: int,
        counts: Counts,
        *,
        step: int = STEP,
        batch: int = MAX_BATCH,
        skips: Skips | None = None,
    ) -> None:
        """`skips` tells the offsets of a shard of `commits` that an operator leaves out; asked when it is taken."""
        self._skips = skips
        self._skipped: Collection[int] = ()
        self._settings = settings
        self._directory = directory
        self._shard = shard
        self._counts = counts
        self._step = step
        self._batch = batch
        self._commits = TopicPartition(settings.topic(COMMITS), shard)
        self._records = TopicPartition(settings.topic(RECORDS), shard)
        self._chunks = KafkaChunks(settings, shard)
        self._owned = KafkaOwned(settings, directory / f"operations-{shard}.sqlite", shard)
        self._operations = TopicPartition(settings.topic(OPERATIONS), shard)
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._state: ShardFile | None = None
        self._stopping = False
        self._stuck: tuple[int, float] | None = None
        self._name = f"{settings.cluster}-derive-{shard}"
        single = [TopicPartition(settings.topic(name), 0) for name in (FIREHOSE, REJECTIONS)]
        self._written = [self._records, self._operations, *single]
        self._committed_at: float | None = None
        """When the last transaction was committed; None once its end was seen in every partition."""
        self.place = DerivePlace()

    @property
    def open_transaction_seconds(self) -> float:
        """How long the oldest open transaction has hidden what comes after it in `commits`; 0 when none does."""
        return 0.0 if self._stuck is None else monotonic() - self._stuck[1]

    async def open(self) -> None:
        """Take the shard, and fence whoever had it."""
        settings = self._settings
        if self._skips is not None:
            self._skipped = await self._skips(COMMITS, self._shard)
        # What derive was not told of it derives again; half of a transaction must not stay.
        unclosed = await Unclosed.ask(settings, self._name, self._written, otherwise=False)
        self._producer = new_producer(settings, transactional_id=self._name)
        await self._producer.start()
        await unclosed.close(self._producer)
        await self._alone(self._producer)
        ids = await topic_ids(settings, [RECORDS])
        self._state = ShardFile(self._directory / f"shard-{self._shard}.sqlite", ids[RECORDS])
        await self._restore(self._state, ids[RECORDS])
        self.place = self._state.place_in_commits
        self._consumer = consumer = new_consumer(settings, reset="none")
        await consumer.start()
        consumer.assign([self._commits])
        oldest = (await consumer.beginning_offsets([self._commits]))[self._commits]
        end = (await consumer.end_offsets([self._commits]))[self._commits]
        if not oldest <= self.place.done <= end:
            raise InvariantError(
                f"{self._commits.topic}[{self._shard}] holds {oldest + 1} to {end}, derive has come to "
                f"{self.place.done}: entries are lost, or the topic was replaced; bring back what held them, or start "
                "a new cluster and replay into it"
            )
        consumer.seek(self._commits, self.place.done)

    async def run(self) -> None:
        """Derive until told to stop; raises what stopped it."""
        consumer = self._consumer
        assert consumer is not None
        while not self._stopping:
            got = await consumer.getmany(self._commits, timeout_ms=_POLL_MS, max_records=self._batch)
            self._watch(consumer)
            messages = got.get(self._commits, ())
            reached: int = await consumer.position(self._commits)
            if messages or reached > self.place.done:
                await self._derive(messages, reached)
            elif self._committed_at is not None and monotonic() - self._committed_at > _QUIET_SECONDS:
                # No later transaction ends what the broker may have forgotten of this one.
                assert self._producer is not None
                await close_committed(self._producer, self._name, self._written)
                self._committed_at = None

    def stop(self) -> None:
        """End after the transaction under way."""
        self._stopping = True

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
        await self._chunks.close()
        await self._owned.close()
        if self._producer is not None:
            await stop_producer(self._producer)
        if self._state is not None:
            self._state.close()

    async def end(self) -> int:
        """The offset up to which `commits` is to be derived now."""
        assert self._consumer is not None
        end: int = (await self._consumer.end_offsets([self._commits]))[self._commits]
        return end

    async def _alone(self, producer: AIOKafkaProducer) -> None:
        """Nothing is open in `records`, not even under a number that the broker gave this id's producers long ago."""
        began = monotonic()
        while found := await open_of_anyone(producer, self._records):
            if monotonic() - began > _FOREIGN_SECONDS:
                raise InvariantError(
                    f"{self._records.topic}[{self._shard}]: expected no open transaction, found {dict(found)} (offset"
                    " by producer): end it with kafka-transactions.sh abort --topic --partition --start-offset"
                )
            await asyncio.sleep(_POLL_MS / 1000)

    async def _restore(self, state: ShardFile, topic: str) -> None:
        """Bring the state up to the end of `records`, in which nothing is open."""
        reader = new_consumer(self._settings)
        await reader.start()
        try:
            reader.assign([self._records])
            end = (await reader.end_offsets([self._records]))[self._records]
            if not await self._holds(reader, state.at, end):
                _log.warning("the log does not hold what derive's file goes on from", shard=self._shard, at=state.at)
                state.forget(topic)
            reader.seek(self._records, state.at)
            while not self._stopping and await reader.position(self._records) < end:
                got = await reader.getmany(self._records, timeout_ms=_POLL_MS, max_records=RESTORE_PAGE)
                messages: Sequence[ConsumerRecord] = got.get(self._records, ())
                if messages:
                    changed = Overlay(state)
                    for message in messages:
                        changed.restore(*read(message.key, message.value, message.headers, message.offset + 1))
                    state.take(changed, changed.last or state.place_in_commits, messages[-1].offset + 1)
        finally:
            await reader.stop()

    async def _holds(self, reader: AIOKafkaConsumer, at: int, end: int) -> bool:
        """Whether `at` is the offset of a committed message, or 0. One that was compacted away has a successor."""
        if at == 0:
            return True
        if at > end:  # the broker has lost what it had acknowledged
            return False
        reader.seek(self._records, at - 1)
        while not self._stopping and await reader.position(self._records) < at:
            got = await reader.getmany(self._records, timeout_ms=_POLL_MS, max_records=1)
            for message in got.get(self._records, ()):
                return bool(message.offset == at - 1)
        return self._stopping

    def _watch(self, consumer: AIOKafkaConsumer) -> None:
        """Notice that the last stable offset stands still while there is more above it."""
        high, stable = consumer.highwater(self._commits), consumer.last_stable_offset(self._commits)
        if high is None or stable is None or stable >= high:
            self._stuck = None
        elif self._stuck is None or self._stuck[0] != stable:
            self._stuck = (stable, monotonic())

    async def _derive(self, messages: Sequence[ConsumerRecord], reached: int) -> None:
        """All of them; `reached` is behind the markers that follow them, which nobody is to wait for."""
        assert self._state is not None
        waiting = deque(self._source(message) for message in messages if message.offset + 1 not in self._skipped)
        while waiting or reached > self.place.done:
            batch = Batch(self._shard, self._state, self.place, self._chunks, self._step, owned=self._owned)
            traced: dict[int, bytes] = {}
            while waiting:
                source, begin = waiting[0], len(batch.records)
                done = await self._add(batch, source)
                if source.trace is not None:
                    traced |= dict.fromkeys(range(begin, len(batch.records)), source.trace)
                if not done:
                    break
                waiting.popleft()
            if not waiting:
                batch.pass_over(reached)
            if traced and tracing.TRACER is not None:
                about: tracing.Attributes = {
                    "messaging.destination.partition.id": str(self._shard),
                    "messaging.batch.message_count": batch.entries,
                }
                with tracing.TRACER.batch("derive", list(traced.values()), about) as onward:
                    await self._transact(batch, {at: onward.get(parent) for at, parent in traced.items()})
            else:
                await self._transact(batch)
            await asyncio.sleep(0)

    async def _transact(self, batch: Batch, traced: Mapping[int, bytes | None] | None = None) -> None:
        """HOT: all of a batch, or nothing. `traced`: by its place in the batch, what goes along with a record."""
        state = self._state
        assert state is not None
        with tracing.call("kafka transaction"):
            at = await self._commit(batch, traced or {})
        place = batch.place
        state.take(batch.changed, place, at)
        self.place = place
        self._committed_at = monotonic()
        counts = self._counts
        counts.transactions += 1
        counts.entries += batch.entries
        counts.rejected.update(batch.rejected)
        if place.began:
            point("derive.mid_expansion_txn")

    async def _commit(self, batch: Batch, traced: Mapping[int, bytes | None]) -> int:
        """The offset of the batch's place in `records`."""
        producer, shard = self._producer, self._shard
        assert producer is not None
        topic = self._settings.topic
        point("derive.before_send")
        await producer.begin_transaction()
        sent = [heard(await producer.send(topic(FIREHOSE), value=value, partition=0)) for value in batch.firehose]
        for key, rejection in batch.rejections:
            sent.append(heard(await producer.send(topic(REJECTIONS), key=key, value=rejection, partition=0)))
        for key, gone, headers in batch.operations:
            sent.append(heard(await producer.send(topic(OPERATIONS), gone, key, shard, headers=headers)))
        messages = batch.messages()
        for number, header in traced.items():
            if header is not None:
                key, value, headers = messages[number]
                messages[number] = (key, value, [*headers, (tracing.HEADER, header)])
        for key, value, headers in messages:
            sent.append(heard(await producer.send(topic(RECORDS), value, key, shard, headers=headers)))
        at: int = [(await future).offset + 1 for future in sent][-1]
        place = batch.place
        offsets = {self._commits: OffsetAndMetadata(batch.needed, f"done={place.done} n={place.n}")}
        await producer.send_offsets_to_transaction(offsets, derive_group(self._settings))
        point("derive.before_commit_txn")
        await producer.commit_transaction()
        point("derive.after_commit_txn")
        return at

    def _source(self, message: ConsumerRecord) -> Source:
        pds = dict(message.headers).get(PDS_HEADER)
        trace = None
        if tracing.TRACER is not None:
            trace = tracing.parent_of(message.headers, message.timestamp, time_ns() // 1_000_000)
        try:
            entry = decode(message.value or b"")
        except Exception as error:
            error.add_note(self._cure(message.offset + 1))
            raise
        return Source(message.offset + 1, entry, None if pds is None else pds.decode(), trace)

    async def _add(self, batch: Batch, source: Source) -> bool:
        try:
            return await batch.add(source)
        except Exception as error:
            error.add_note(self._cure(source.offset))
            raise

    def _cure(self, offset: int) -> str:
        at = f"{COMMITS} {self._shard} {offset}"
        return f"over {COMMITS}[{self._shard}]@{offset}: mend it, or leave it out: headrace log skip {at} --reason WHY"
