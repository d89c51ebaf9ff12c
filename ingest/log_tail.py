"""The newest entries of one shard (or of the firehose) in memory, so that live readers decode nothing.

Bounded by count and by bytes. Owns no truth: what is not here is read from the store.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Tail(Generic[T]):
    """Entries numbered `start + 1`, `start + 2`, ... without a gap."""

    __slots__ = ("_bytes", "_entries", "_max_bytes", "_max_entries", "_sizes", "start")

    def __init__(self, end: int, max_entries: int, max_bytes: int) -> None:
        self.start = end
        self._entries: list[T] = []
        self._sizes: list[int] = []
        self._bytes = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes

    def push(self, entry: T, size: int) -> None:
        """HOT: `entry` is the next number. Old ones go in halves, so that it costs O(1) each."""
        self._entries.append(entry)
        self._sizes.append(size)
        self._bytes += size
        if len(self._entries) > 2 * self._max_entries or self._bytes > 2 * self._max_bytes:
            self._trim()

    def read(self, after: int, limit: int) -> list[T] | None:
        """At most `limit` entries above `after`; None if `after` lies before what is here."""
        at = after - self.start
        return None if at < 0 else self._entries[at : at + limit]

    def _trim(self) -> None:
        drop = max(0, len(self._entries) - self._max_entries)
        left = self._bytes - sum(self._sizes[:drop])
        while left > self._max_bytes and drop < len(self._entries):
            left -= self._sizes[drop]
            drop += 1
        del self._entries[:drop]
        del self._sizes[:drop]
        self._bytes = left
        self.start += drop
