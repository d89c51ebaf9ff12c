"""Read-your-writes: a viewer's AppView read waits, briefly, until the views hold the viewer's own last write.

The wait is bounded by `WAIT_SECONDS`; after it the read is answered with what the views have, and `Atproto-Repo-Rev`
says how far that is. Does not own progress (the runner's watermark vector) nor the log.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from api.metrics import HttpMetrics
from ingest.log import Appended

WAIT_SECONDS = 1.0
# Only writes the views may not have passed matter: at 2,000 writes/s this remembers 8 s of distinct writers.
_REMEMBERED = 16_384


class Progress(Protocol):
    """What the views have seen."""

    async def reached(self, shard: int, offset: int, timeout: float) -> bool:  # noqa: ASYNC109 - bounded by contract
        """Whether every view has passed `offset` of `records` in `shard`, waiting at most `timeout` seconds."""
        ...


class ReadYourWrites:
    """HOT. `note` is called after every append of an account hosted here, `wait` before every read by a viewer."""

    def __init__(self, progress: Progress, metrics: HttpMetrics, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self._progress = progress
        self._seconds = wait_seconds
        self._last: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._reached = metrics.waits.labels("reached")
        self._timed_out = metrics.waits.labels("timed_out")

    def note(self, did: str, appended: Appended) -> None:
        last = self._last
        last[did] = (appended.shard, appended.records_end)
        last.move_to_end(did)
        if len(last) > _REMEMBERED:
            last.popitem(last=False)

    async def wait(self, viewer: str) -> None:
        place = self._last.get(viewer)
        if place is None:
            return
        if await self._progress.reached(place[0], place[1], self._seconds):
            self._reached.inc()
            if self._last.get(viewer) == place:  # no write came meanwhile
                del self._last[viewer]
        else:
            self._timed_out.inc()
