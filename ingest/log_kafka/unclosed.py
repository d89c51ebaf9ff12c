"""Closes what a transaction has left open in a partition although the broker takes it for ended.

A transaction ends with a marker in every partition that it wrote to. A coordinator that has just come back with its
broker passes over partitions without a leader at that moment ("likely deleted already", Kafka 4.3) and takes the
transaction for ended. Readers wait before what is open then, and the next marker of the same producer decides of it:
a commit would put into the log what a fence had aborted. So who starts a producer of a transactional id

1. asks before how that id's last transaction ended, once every partition has a leader that answers;
2. starts it, which fences: the coordinator knows of nothing open under that id any more;
3. looks for what is open under the producer's number all the same, and closes it as it had ended, in a transaction that
   holds nothing but its markers.

Docs: docs/decisions/0014. Does not own producers, nor what follows from something that was dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaError, LeaderNotAvailableError, for_code

from ingest.log_kafka.client import KafkaSettings, new_admin
from ingest.log_kafka.transaction_requests import NOT_FOUND, DescribeProducers, DescribeTransactions
from schemas.errors import InvariantError

_SECONDS = 30.0
_PAUSE_SECONDS = 0.1
_COMMITTED = ("PrepareCommit", "CompleteCommit")
_ABORTED = ("PrepareEpochFence", "PrepareAbort", "CompleteAbort")

_log = structlog.get_logger()
_T = TypeVar("_T")


class Unclosed:
    """`await Unclosed.ask(...)`, start the producer, `await close(producer)`.

    `otherwise`: whether what is open is committed where the broker no longer says how it ended. `told`, by partition:
    Kafka's offset up to which somebody was told that it is in the log; what is open below it is committed.
    """

    def __init__(
        self,
        name: str,
        partitions: Collection[TopicPartition],
        state: str,
        under_way: Collection[TopicPartition],
        *,
        otherwise: bool,
        told: Mapping[TopicPartition, int],
    ) -> None:
        self._name = name
        self._partitions = partitions
        self._state = state
        self._under_way = under_way
        self._otherwise = otherwise
        self._told = told

    @classmethod
    async def ask(
        cls,
        settings: KafkaSettings,
        name: str,
        partitions: Collection[TopicPartition],
        *,
        otherwise: bool,
        told: Mapping[TopicPartition, int] = MappingProxyType({}),
    ) -> Unclosed:
        """`name` is the transactional id; nobody but it writes to `partitions` under its producer's number.

        Raises KafkaError, OSError or TimeoutError.
        """
        admin = new_admin(settings)
        try:
            await admin.start()
            client = admin._client  # noqa: SLF001 - it sends any request; the public ones lack these
            await _told(client, lambda: _open(client, partitions))
            state, under_way = await _told(client, lambda: _state(client, name))
        finally:
            await admin.close()
        return cls(name, partitions, state, under_way, otherwise=otherwise, told=told)

    async def close(self, producer: AIOKafkaProducer) -> dict[TopicPartition, int]:
        """Of each partition where something was dropped, Kafka's offset of its first message."""
        found = await _own(producer, self._partitions)
        kept = {part: at for part, at in found.items() if self._committed(part, at)}
        dropped = {part: at for part, at in found.items() if part not in kept}
        if found:
            _log.warning("the broker forgot to end a transaction", id=self._name, kept=[*kept], dropped=[*dropped])
        await _mark(producer, kept, commit=True)
        await _mark(producer, dropped, commit=False)
        return dropped

    def _committed(self, partition: TopicPartition, at: int) -> bool:
        """What is under way is ended by the fence; what else is open then is of a transaction before it."""
        if self._state in _COMMITTED or at < self._told.get(partition, 0):
            return True
        return not (self._state in _ABORTED or partition in self._under_way) and self._otherwise


async def close_committed(producer: AIOKafkaProducer, name: str, partitions: Collection[TopicPartition]) -> None:
    """Between two transactions, the last of which was committed: see to it that readers see it.

    Raises KafkaError, OSError or TimeoutError.
    """
    client = producer.client
    async with asyncio.timeout(_SECONDS):
        while (await _told(client, lambda: _state(client, name)))[0] == "PrepareCommit":  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE_SECONDS)  # it is the broker that ends it
    if found := await _own(producer, partitions):
        _log.warning("the broker forgot to end a transaction", id=name, kept=[*found], dropped=[])
        await _mark(producer, found, commit=True)


async def open_of_anyone(producer: AIOKafkaProducer, partition: TopicPartition) -> Mapping[int, int]:
    """Kafka's offset of the first message of each open transaction of a partition, by its producer's number."""
    client = producer.client
    return (await _told(client, lambda: _open(client, [partition])))[partition]


async def _own(producer: AIOKafkaProducer, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    number = producer._txn_manager.producer_id  # noqa: SLF001 - the broker gave it, and nothing public says it
    client = producer.client
    found = await _told(client, lambda: _open(client, partitions))
    return {part: first[number] for part, first in found.items() if number in first}


async def _mark(producer: AIOKafkaProducer, partitions: Collection[TopicPartition], *, commit: bool) -> None:
    if not partitions:
        return
    await producer.begin_transaction()
    for part in partitions:
        producer._txn_manager.maybe_add_partition_to_txn(part)  # noqa: SLF001 - as a send does; there is nothing to send
    await (producer.commit_transaction() if commit else producer.abort_transaction())
    try:
        async with asyncio.timeout(_SECONDS):
            while await _own(producer, partitions):  # noqa: ASYNC110 - markers follow the broker's answer
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError as late:
        raise InvariantError(
            f"expected no open transaction after its end, found one in one of {[*partitions]}: see the broker's log,"
            " and start again"
        ) from late


async def _state(client: Any, name: str) -> tuple[str, list[TopicPartition]]:
    """The coordinator's word for the last transaction, and where it is under way; "" for an id it does not know."""
    node = await client.coordinator_lookup(CoordinationType.TRANSACTION, name)
    (said,) = (await client.send(node, DescribeTransactions(name))).to_object()["transaction_states"]
    if said["error_code"] == NOT_FOUND:
        return "", []
    _check(said["error_code"], name)
    ongoing = said["topics"] if said["transaction_state"] == "Ongoing" else []
    return said["transaction_state"], [TopicPartition(of["topic"], n) for of in ongoing for n in of["partitions"]]


async def _open(client: Any, partitions: Collection[TopicPartition]) -> dict[TopicPartition, dict[int, int]]:
    for topic in {part.topic for part in partitions}:
        await client.add_topic(topic)
    leaders: dict[int, list[TopicPartition]] = {}
    for part in partitions:
        node = client.cluster.leader_for_partition(part)
        if node is None or node < 0:
            raise LeaderNotAvailableError(part)
        leaders.setdefault(node, []).append(part)
    found: dict[TopicPartition, dict[int, int]] = {}
    for node, parts in leaders.items():
        answer = (await client.send(node, DescribeProducers(parts))).to_object()
        for of in answer["topics"]:
            for said in of["partitions"]:
                part = TopicPartition(of["name"], said["partition_index"])
                _check(said["error_code"], part)
                found[part] = {
                    each["producer_id"]: each["current_txn_start_offset"]
                    for each in said["active_producers"]
                    if each["current_txn_start_offset"] >= 0
                }
    return found


def _check(code: int, of: object) -> None:
    if code:
        raise for_code(code)(of)


async def _told(client: Any, ask: Callable[[], Awaitable[_T]]) -> _T:
    """Its answer, once the broker has one. Raises KafkaError, OSError or TimeoutError."""
    async with asyncio.timeout(_SECONDS):
        while True:
            try:
                return await ask()
            except KafkaError as error:
                if not error.retriable:
                    raise
            await client.force_metadata_update()
            await asyncio.sleep(_PAUSE_SECONDS)
