"""Whether a processor has work that it does not do: what its liveness says.

Entries wait for a shard that it has, broker and store answer, and nothing of it is taken for minutes: only another
process helps. While they do not answer nothing can be told, and that time does not count. Does not own the look
(`headrace/river.py`) nor who asks (`api/ops.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Place = tuple[str, int]  # topic, shard

STALL_SECONDS = 300.0
_LOOK_MOST_SECONDS = 30.0  # what two looks may be apart while broker and store answer


class Stalls:
    """`now` gives seconds that never go back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._look: object = None
        self._at = now()
        self._idle: dict[Place, float] = {}
        self._offsets: dict[Place, int] = {}

    def seen(self, look: object, waiting: Mapping[Place, int], offsets: Mapping[Place, int]) -> str | None:
        """What stalls, in words, or None. `look` is another object for each look that was answered.

        `waiting` (entries) may name shards of others, `offsets` those of this process alone.
        """
        if look is not self._look:
            elapsed = min(self._now() - self._at, _LOOK_MOST_SECONDS)
            self._idle = {
                place: self._idle.get(place, 0.0) + elapsed
                for place, offset in offsets.items()
                if waiting.get(place) and self._offsets.get(place) == offset
            }
            self._look, self._at, self._offsets = look, self._now(), dict(offsets)
        for (topic, shard), seconds in self._idle.items():
            if seconds >= STALL_SECONDS:
                entries = waiting.get((topic, shard), 0)
                return f"{topic}[{shard}] has not moved for {seconds:.0f} s, {entries} entries wait"
        return None
