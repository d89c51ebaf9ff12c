"""Two requests that aiokafka lacks: what is open in a partition, and how a transaction stands.

DescribeProducers (61) and DescribeTransactions (65), version 0 each, as KIP-664 has them. Owns no decision.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

NOT_FOUND = 105  # TRANSACTIONAL_ID_NOT_FOUND

_TAGS = ("tags", TaggedFields)


class _ProducersResponse(Response):  # type: ignore[misc]
    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        (
                            "active_producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("current_txn_start_offset", Int64),
                                _TAGS,
                            ),
                        ),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _ProducersStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 61
    API_VERSION = 0
    RESPONSE_TYPE = _ProducersResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("name", CompactString("utf-8")), ("partition_indexes", CompactArray(Int32)), _TAGS)),
        _TAGS,
    )


class DescribeProducers(Request[_ProducersStruct]):  # type: ignore[misc]
    """To the leader of each of `partitions`."""

    API_KEY = 61

    def __init__(self, partitions: Sequence[TopicPartition]) -> None:
        self._partitions = partitions

    def build(self, request_struct_class: type[_ProducersStruct]) -> _ProducersStruct:
        topics: dict[str, list[int]] = {}
        for part in self._partitions:
            topics.setdefault(part.topic, []).append(part.partition)
        return request_struct_class([(topic, numbers, {}) for topic, numbers in topics.items()], {})


class _TransactionsResponse(Response):  # type: ignore[misc]
    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "transaction_states",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", CompactString("utf-8")),
                ("transaction_state", CompactString("utf-8")),
                ("transaction_timeout_ms", Int32),
                ("transaction_start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                (
                    "topics",
                    CompactArray(("topic", CompactString("utf-8")), ("partitions", CompactArray(Int32)), _TAGS),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _TransactionsStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 65
    API_VERSION = 0
    RESPONSE_TYPE = _TransactionsResponse
    SCHEMA = Schema(("transactional_ids", CompactArray(CompactString("utf-8"))), _TAGS)


class DescribeTransactions(Request[_TransactionsStruct]):  # type: ignore[misc]
    """To the coordinator of the transactional id."""

    API_KEY = 65

    def __init__(self, name: str) -> None:
        self._name = name

    def build(self, request_struct_class: type[_TransactionsStruct]) -> _TransactionsStruct:
        return request_struct_class([self._name], {})
