"""Up to where derive has come, as a broker tells of a group that has never committed anything."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.truncate import derived_to


class Broker:
    """What `AIOKafkaAdminClient` answers; `told` is an offset a shard, and shards it lacks are left out."""

    def __init__(self, told: dict[int, int]) -> None:
        self.told = told

    async def list_consumer_group_offsets(self, _group: str, *, partitions: Any) -> dict[Any, Any]:
        offset = type("OffsetAndMetadata", (), {})
        found = {}
        for each in partitions:
            if each.partition in self.told:
                found[each] = offset()
                found[each].offset = self.told[each.partition]
        return found


@pytest.mark.parametrize("told", [{}, {1: 7}, {0: -1, 1: 7}, {0: 3, 1: 7}])
async def test_a_shard_of_which_nothing_is_told_is_derived_to_nothing(told: dict[int, int]) -> None:
    settings = KafkaSettings(servers="127.0.0.1:1")

    found = await derived_to(settings, 2, Broker(told))  # type: ignore[arg-type]

    assert found == {shard: max(0, told.get(shard, 0)) for shard in range(2)}
