"""Reads `records` from any offset, for those who do not follow it: rebuilds from the log, audits, tools.

Offsets are the log's, Kafka's + 1, and have gaps: transactions' markers, what compaction took, and messages that are
derive's own. Does not own what processors read live (`processors.lanes.lane`).
"""

from __future__ import annotations

import asyncio

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.reader import PartitionReader
from schemas.entries import Derived
from schemas.records_codec import decode
from schemas.topics import RECORDS

MAX_READ = 5000


class KafkaRecords:
    """Connects at the first question; `close` it."""

    def __init__(self, settings: KafkaSettings, shards: int) -> None:
        self._readers = [PartitionReader(settings, RECORDS, shard) for shard in range(shards)]

    @property
    def shards(self) -> int:
        return len(self._readers)

    async def ends(self) -> list[int]:
        """By shard, the offset that a reading reaches now: at or above the newest entry's."""
        return [end for _, end in await asyncio.gather(*(reader.bounds() for reader in self._readers))]

    async def read_records(self, shard: int, after: int, limit: int) -> tuple[list[Derived], int]:
        """Entries above `after`, in order, of at most `limit` messages, and the offset that this has come to.

        The page may be empty and not the last: the last one is the one that reaches no further than `after`.
        """
        reader = self._readers[shard]
        messages = await reader.read(after, min(limit, MAX_READ))
        entries = [decode(m.key, m.value, m.headers, m.offset + 1) for m in messages]
        reached = messages[-1].offset + 1 if messages else after
        return [entry for entry in entries if entry is not None], reached

    async def close(self) -> None:
        for reader in self._readers:
            await reader.close()
