"""Kafka transactions under one transactional id: whoever starts one fences the id's former owner.

A start also ends what the former owner left open, one way or the other, before it returns: also what the broker has
forgotten to end (`ingest.log_kafka.unclosed`). Anything that goes wrong in a transaction leaves its outcome unknown and
this producer unusable: start again. Does not own what is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from ingest.log_kafka.client import KafkaSettings, heard, new_producer, stop_producer
from ingest.log_kafka.unclosed import Unclosed, close_committed
from schemas.crash import point
from schemas.topics import COMMITS, PDS

_START_SECONDS = 30.0  # the former owner's transaction may have to time out first
_STOP_SECONDS = 5.0


class OutcomeUnknownError(Exception):
    """The transaction may have been committed.

    `fenced`: the broker said that another owner, or its timeout, ended it.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"a Kafka transaction came to no known end: {cause!r}")
        # An assertion is how aiokafka meets the state that a fencing left it in.
        self.fenced = isinstance(cause, ProducerFenced | InvalidProducerEpoch | AssertionError)


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message to be sent; `topic` is the short name."""

    topic: str
    shard: int
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Transactions:
    """One transaction at a time."""

    def __init__(self, settings: KafkaSettings, name: str, complete: Sequence[int]) -> None:
        """Of the PDS `name`; `complete`: by shard, the offset up to which it knows `commits`, as it is at any time."""
        self._settings = settings
        self._id = f"{settings.cluster}-pds-{name}"
        self._complete = complete
        self._commits = [TopicPartition(settings.topic(COMMITS), shard) for shard in range(len(complete))]
        self._writes = [*self._commits, TopicPartition(settings.topic(PDS), 0)]
        self._unseen = False
        self._seconds = settings.transaction_timeout_ms / 1000
        self._producer: AIOKafkaProducer | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Fence the former owner and wait for its transaction's end. Raises KafkaError, OSError or TimeoutError."""
        self._leave()
        # A write whose outcome nobody was told may be in the log; one that was acknowledged must be.
        told = dict(zip(self._commits, self._complete, strict=True))
        unclosed = await Unclosed.ask(self._settings, self._id, self._writes, otherwise=True, told=told)
        producer = new_producer(self._settings, transactional_id=self._id)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await producer.start()
                await unclosed.close(producer)
        except BaseException:
            self._producer = producer
            self._leave()
            raise
        self._producer = producer
        self._unseen = False

    async def look(self) -> None:
        """While it is quiet: see to it, once a transaction, that readers see the last one. Raises InvariantError."""
        if not self._unseen or self._producer is None:
            return
        # It is asked again; of a producer that cannot go on the next transaction finds out.
        with contextlib.suppress(KafkaError, OSError, TimeoutError, AssertionError):
            async with asyncio.timeout(self._seconds):
                await close_committed(self._producer, self._id, self._writes)
            self._unseen = False

    async def commit(
        self, messages: Sequence[Outgoing], group: str, offsets: Mapping[TopicPartition, int]
    ) -> list[int]:
        """HOT. Messages, and offsets of a group, in one transaction; Kafka's offsets of the messages.

        Raises OutcomeUnknownError.
        """
        producer = self._producer
        if producer is None:
            raise OutcomeUnknownError(RuntimeError("no producer"))
        try:
            async with asyncio.timeout(self._seconds):
                await producer.begin_transaction()
                sent = []
                for m in messages:
                    topic = self._settings.topic(m.topic)
                    place = await producer.send(topic, m.value, key=m.key, partition=m.shard, headers=list(m.headers))
                    sent.append(heard(place))
                if offsets:
                    await producer.send_offsets_to_transaction(dict(offsets), group)
                places = [await place for place in sent]
                point("log.before_commit")
                await producer.commit_transaction()
                point("log.after_commit")
                self._unseen = self._unseen or bool(messages)
        except (KafkaError, OSError, TimeoutError, AssertionError) as error:
            for place in sent:
                place.cancel()
            raise OutcomeUnknownError(error) from error
        return [place.offset for place in places]

    async def close(self) -> None:
        self._leave()
        while self._leaving:
            await asyncio.wait(tuple(self._leaving))

    def _leave(self) -> None:
        """Let go of the producer, beside what follows: it may wait for a broker that is away."""
        producer, self._producer = self._producer, None
        if producer is not None:
            task = asyncio.get_running_loop().create_task(_stop(producer), name="kafka-leave")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


async def _stop(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(KafkaError, OSError, AssertionError):
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await stop_producer(producer)
        except TimeoutError:
            await producer.client.close()
