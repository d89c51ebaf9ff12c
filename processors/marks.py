"""High-water marks: what makes a replay, a duplicate or a zombie in front of a hop harmless (EXACTNESS 3).

A hop's consumer lets a message in only above the mark of its source; marks rise on whatever comes and are saved with
the progress of the batch. Does not own the order in which a source sends: it is the source's offset order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from views.view import Source

Mark = tuple[str, int, str, int]


class Marks:
    def __init__(self, saved: Mapping[Mark, tuple[int, int]]) -> None:
        self._marks = dict(saved)
        self.changed: dict[Mark, tuple[int, int]] = {}
        self.dropped: Counter[str] = Counter()
        """Messages that had been let in before, by hop."""

    def admit(self, hop: str, shard: int, src: Source) -> bool:
        topic, source, offset, index = src
        mark = (hop, shard, topic, source)
        place = (offset, index)
        newest = self._marks.get(mark)
        if newest is not None and place <= newest:
            self.dropped[hop] += 1
            return False
        self._marks[mark] = self.changed[mark] = place
        return True

    def take_changed(self) -> dict[Mark, tuple[int, int]]:
        changed, self.changed = self.changed, {}
        return changed
