"""An overlay that also says which entry last touched each key: for stores whose batches may be torn and redone.

Who feeds it sets `offset` before each entry. Does not own how an offset becomes a version (`views.versions`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from views.overlay import Overlay
from views.store import Batch, Reads
from views.table import Key, Row, Table

# What only rises has its own value as version, so that whoever writes last, the highest stays: unix microseconds in
# steps of 4 ms are as small as an offset must be, and two values of one step are told apart by the store (equal
# versions: the larger value wins).
_STEP = 12


class VersionedOverlay(Overlay):
    def __init__(self, store: Reads) -> None:
        super().__init__(store)
        self.offset = 0
        """Of the entry that is being taken, in the shard that is."""
        self._versions: defaultdict[Table, dict[Key, dict[Key, int]]] = defaultdict(dict)
        self._static_versions: defaultdict[Table, dict[Key, int]] = defaultdict(dict)

    def put(self, table: Table, row: Row) -> None:
        super().put(table, row)
        size = table.partition_size
        self._versions[table].setdefault(row[:size], {})[row[size : table.key_size]] = self.offset

    def delete(self, table: Table, key: Key) -> None:
        super().delete(table, key)
        size = table.partition_size
        self._versions[table].setdefault(key[:size], {})[key[size:]] = self.offset

    def put_each(self, table: Table, prefixes: Iterable[str], changes: Sequence[tuple[Key, Row | None]]) -> None:
        prefixes = tuple(prefixes)
        super().put_each(table, prefixes, changes)
        versions = self._versions[table]
        touched = dict.fromkeys((key for key, _ in changes), self.offset)
        for prefix in prefixes:
            versions.setdefault((prefix,), {}).update(touched)

    def put_statics(self, table: Table, partition: Key, values: Row) -> None:
        super().put_statics(table, partition, values)
        self._static_versions[table][partition] = self.offset

    def raise_static(self, table: Table, partition: Key, values: Row) -> None:
        super().put_statics(table, partition, values)
        self._static_versions[table][partition] = max(0, values[0]) >> _STEP

    def batch(self) -> Batch:
        batch = super().batch()
        batch.versions = dict(self._versions)
        batch.static_versions = dict(self._static_versions)
        return batch
