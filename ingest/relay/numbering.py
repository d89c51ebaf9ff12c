"""Whether a host's numbers have begun anew: a restored backup, a lost database, another server under its name.

A host that only says again what it has said carries revisions that the log has. Several messages in a row, under
numbers that are behind us, with revisions that the log has not are news under old numbers: the host is to be read from
its oldest. What that brings twice is dropped by its revision. Bounded, since a host may pretend. Does not own the
cursor (`ingest.relay.subscription`).
"""

from __future__ import annotations

from ingest.relay.quotas import Bucket, Rate

NEWS = 3  # in a row, with no number above the last between them
RESTARTS = Rate(4, 3_600.0)


class Numbering:
    def __init__(self) -> None:
        self._restarts = Bucket(RESTARTS)
        self._news = 0

    def rises(self) -> None:
        """HOT: a number came that is above the last."""
        self._news = 0

    def has_begun_anew(self, *, news: bool) -> bool:
        """A number came that is not above the last. True: the host is to be read from its oldest; counted."""
        self._news += news
        if self._news < NEWS or not self.may_restart():
            return False
        self._news = 0
        return True

    def may_restart(self) -> bool:
        """Whether it may be read from its oldest once more; counted."""
        return self._restarts.take()
