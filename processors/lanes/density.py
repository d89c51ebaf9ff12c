"""Whether every entry of a shard of `records` came: its numbers are dense, but for what compaction took.

Compaction takes nothing younger than `min.compaction.lag.ms`, by Kafka's timestamps; so a hole behind a younger entry
is a loss. And a consumer that begins again behind what compaction may have taken could miss the redo of what it has
half done (EXACTNESS 6): it refuses, unless compaction is held. Does not own the numbers (`ingest.derive`).
"""

from __future__ import annotations

from schemas.errors import InvariantError
from schemas.topics import RECORDS

HOUR_MS = 3_600_000
COMPACTION_LAG_MS = 24 * HOUR_MS
MARGIN_MS = HOUR_MS


class GapError(InvariantError):
    """Entries of `records` are missing, or an offset of a hop is."""


def check_young(topic: str, shard: int, stamp: int, now: int) -> None:
    """Of the first entry that a consumer goes on at, in unix milliseconds (0: unknown). Raises InvariantError."""
    if 0 < stamp < now - COMPACTION_LAG_MS + MARGIN_MS:
        raise InvariantError(
            f"{topic}[{shard}]: the views go on at an entry of {(now - stamp) // HOUR_MS} h ago, where compaction may"
            f" have taken what they had half done; expected less than {(COMPACTION_LAG_MS - MARGIN_MS) // HOUR_MS} h:"
            " build a new generation (`headrace views build`)"
        )


class Density:
    """Of one shard; `saved` is (n, Kafka's timestamp in ms) of the newest entry taken and the highest log time of all.

    () at the start.
    """

    def __init__(self, shard: int, saved: tuple[int, ...], *, held: bool = False) -> None:
        self._shard = shard
        self.newest = saved
        self._resumed = bool(saved) and not held

    @property
    def highest_time(self) -> int:
        """Log time, unix microseconds; 0 at the start."""
        return self.newest[2] if self.newest else 0

    def skip(self) -> None:
        """An entry that an operator leaves out, and that does not even decode."""
        if self.newest:
            self.newest = (self.newest[0] + 1, *self.newest[1:])

    def take(self, n: int, stamp: int, time: int, now: int) -> None:
        """The next entry; `now` and `stamp` in unix milliseconds, a stamp of 0 is unknown. Raises InvariantError."""
        if self._resumed:
            self._resumed = False
            check_young(RECORDS, self._shard, stamp, now)
        if self.newest:
            last, last_stamp, highest = self.newest
            time = max(time, highest)
            if n <= last:
                raise InvariantError(
                    f"records[{self._shard}]: entry n={n} comes after n={last}; expected n={last + 1}: two writers of"
                    " one shard, or the topic was replaced; stop `derive` and compare the topic's id with the cluster's"
                )
            if n > last + 1 and last_stamp > now - COMPACTION_LAG_MS:
                raise GapError(
                    f"records[{self._shard}]: entry n={n} comes after n={last}, expected n={last + 1}, and what is"
                    " missing is too young for compaction: entries are lost; build the topic again from `commits`"
                )
        self.newest = (n, stamp, time)
