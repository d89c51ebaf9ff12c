"""Reads `commits` again for the chunks of a diff whose last one has come (EXACTNESS 17).

The first owner of a shard may have read the first chunks and another the last: what is not in the log is not
remembered. Does not own which chunks make a diff (`ingest.verdict.complete`).
"""

from __future__ import annotations

import msgspec

from ingest.log_kafka.client import KafkaSettings
from ingest.log_kafka.reader import PartitionReader
from schemas.entries import Diff
from schemas.entry_codec import DIFF_MARKS, decode
from schemas.errors import InvariantError
from schemas.topics import COMMITS

_PAGE = 500


class KafkaChunks:
    """`ingest.log_kafka.derive.batch.Chunks` of one shard."""

    def __init__(self, settings: KafkaSettings, shard: int) -> None:
        self._shard = shard
        self._reader = PartitionReader(settings, COMMITS, shard)

    async def find(self, first: int, last: int, did: str) -> list[tuple[int, Diff]]:
        """Those of the account, without their operations: a diff may be larger than memory."""
        found: list[tuple[int, Diff]] = []
        at, key = first - 1, did.encode()
        while at < last and (messages := await self._reader.read(at, _PAGE)):
            at = messages[-1].offset + 1
            for message in messages:
                value = message.value
                if message.offset < last and message.key == key and value is not None and value[:2] in DIFF_MARKS:
                    chunk = decode(value)
                    assert isinstance(chunk, Diff)
                    found.append((message.offset + 1, msgspec.structs.replace(chunk, ops=())))
        return found

    async def load(self, offset: int) -> Diff:
        for message in await self._reader.read(offset - 1, 1):
            chunk = decode(message.value or b"")
            if message.offset + 1 == offset and isinstance(chunk, Diff):
                return chunk
        raise InvariantError(
            f"commits[{self._shard}]@{offset} held a diff's chunk and does not: it was truncated early"
        )

    async def close(self) -> None:
        await self._reader.close()
