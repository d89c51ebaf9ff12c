"""Values by key with the moment at which reading them began: bounded in bytes, what was asked for least lately goes.

Pure: time is told. Does not own what is kept for how long (`views.store_recent`). HOT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from views.table import Key, Row

_OVERHEAD: Final = 300  # bytes of an entry beside its texts
_LARGEST: Final = 65_536  # bytes of an entry; what is larger is read each time
UNKEPT: Final = _LARGEST + 1
"""The size of what is not to be kept at all."""

Entry = tuple[float, Any, int]
"""When its reading began, the value, bytes."""


class Tally:
    """What one table's readers were spared, ever."""

    __slots__ = ("evicted", "hits", "joined", "misses")

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.joined = 0
        """Waited for what another request was reading."""
        self.evicted = 0
        """Put out for room before their time."""


class Flight(Protocol):
    """A reading that is under way."""

    begun: float


class Recent:
    """One table's, in two generations of half the bytes each; what is asked for again moves to the young one."""

    __slots__ = ("_half", "_old", "_old_size", "_size", "_young", "tally", "under_way")

    def __init__(self, most_bytes: int, tally: Tally) -> None:
        self._half = most_bytes // 2
        self._young: dict[Any, Entry] = {}
        self._old: dict[Any, Entry] = {}
        self._size = self._old_size = 0
        self.tally = tally
        self.under_way: dict[Any, Any] = {}

    @property
    def size(self) -> int:
        """Bytes, about."""
        return self._size + self._old_size

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, keys: Sequence[Any], oldest: float) -> tuple[list[Any], list[int]]:
        """The values (None for those that are not kept, too), and the places of keys that must be read.

        Nothing is answered whose reading began before `oldest`.
        """
        young, old = self._young, self._old
        found: list[Any] = []
        missing: list[int] = []
        for place, key in enumerate(keys):
            entry = young.get(key)
            if entry is None and old:
                entry = old.get(key)
                if entry is not None and entry[0] >= oldest:
                    self._renew(key, entry, oldest)
                    young, old = self._young, self._old
            if entry is None or entry[0] < oldest:
                found.append(None)
                missing.append(place)
            else:
                found.append(entry[1])
        self.tally.hits += len(keys) - len(missing)
        return found, missing

    def keep(self, key: Any, value: Any, size: int, begun: float, oldest: float) -> None:
        """`oldest`: what began before it is of no use to anybody."""
        if size > _LARGEST:
            return
        known = self._young.get(key)
        if known is not None:
            if known[0] > begun:
                return  # a reading that began later has ended before
            self._size -= known[2]
        self._young[key] = (begun, value, size)
        self._size += size
        if self._size > self._half:
            self._grow_old(oldest)

    def _renew(self, key: Any, entry: Entry, oldest: float) -> None:
        del self._old[key]
        self._old_size -= entry[2]
        self._young[key] = entry
        self._size += entry[2]
        if self._size > self._half:
            self._grow_old(oldest)

    def _grow_old(self, oldest: float) -> None:
        self.tally.evicted += sum(entry[0] >= oldest for entry in self._old.values())
        self._old, self._old_size = self._young, self._size
        self._young, self._size = {}, 0


def size_of(row: Row | None) -> int:
    """About how many bytes a row holds."""
    if row is None:
        return _OVERHEAD
    return _OVERHEAD + sum(len(value) for value in row if type(value) is str or type(value) is bytes)


def by_beginning(rows: Sequence[Row], key_size: int) -> Mapping[Key, Row]:
    """A partition's rows by their keys, and the first row by each key that lacks its last column."""
    found: dict[Key, Row] = {}
    for row in rows:
        found[row[:key_size]] = row
        found.setdefault(row[: key_size - 1], row)
    return found
