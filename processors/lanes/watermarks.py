"""What the senders into a hop say they have sent: the part of the vector that lies behind a hop (EXACTNESS 4).

A watermark raises the vector and never a mark. Late and repeated ones change nothing. Does not own when they are sent.
"""

from __future__ import annotations

from collections.abc import Mapping

from processors.lanes.hop_codec import Watermark

Place = tuple[str, int, int]  # hop, its shard, the sender's shard


class Watermarks:
    """Of one shard of one hop."""

    def __init__(self, hop: str, shard: int, saved: Mapping[Place, tuple[int, ...]]) -> None:
        self._hop = hop
        self._shard = shard
        self._saved = dict(saved)
        self._changed: dict[Place, tuple[int, ...]] = {}

    def take(self, watermark: Watermark) -> None:
        place = (self._hop, self._shard, watermark.sender)
        had = self._saved.get(place, ())
        size = max(len(had), len(watermark.offsets))
        raised = tuple(max(a, b) for a, b in zip(_filled(had, size), _filled(watermark.offsets, size), strict=True))
        if raised != had:
            self._saved[place] = self._changed[place] = raised

    def of_senders(self, shards: int) -> tuple[int, ...]:
        """Where each sender stands, of a hop whose senders speak for themselves alone."""
        found = (self._saved.get((self._hop, self._shard, sender), ()) for sender in range(shards))
        return tuple(offsets[0] if offsets else 0 for offsets in found)

    def take_changed(self) -> dict[Place, tuple[int, ...]]:
        changed, self._changed = self._changed, {}
        return changed


def _filled(offsets: tuple[int, ...], size: int) -> tuple[int, ...]:
    return offsets + (0,) * (size - len(offsets))
