"""Read-your-writes: a viewer's AppView read waits, briefly, until the views hold the viewer's own last write.

The wait is bounded by `WAIT_SECONDS`; after it the read is answered with what the views have, and `Atproto-Repo-Rev`
says how far that is. Does not own progress (the runner's watermark vector) nor the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from api.appview.reader import AppViewReader
from api.metrics import HttpMetrics
from api.xrpc import Kind
from schemas.topics import OPERATIONS, RECORDS

WAIT_SECONDS = 1.0


class Fresh(Protocol):
    """What waits. `waits_for` is the kind of credential whose holder's writes are waited for."""

    waits_for: Kind

    async def wait(self, viewer: str, said: str | None) -> None:
        """`said` is the rev of the viewer's repo by the request's `Atproto-Repo-Rev`. Returns within WAIT_SECONDS."""
        ...

    async def written(self, shard: int, offset: int) -> None:
        """Every view holds `operations` of this shard up to `offset`, or WAIT_SECONDS have passed."""
        ...

    async def rev(self, viewer: str, said: str | None, appview: AppViewReader) -> str | None:
        """The rev of the viewer's repo that every view holds; None when none is known to be held."""
        ...

    def since(self, viewer: str) -> float | None:
        """What is read for the viewer must be no older, for `rev` to be held; None where nothing old is answered."""
        ...


class Progress(Protocol):
    """What the views have seen."""

    async def reached(
        self,
        shard: int,
        offset: int,
        timeout: float,  # noqa: ASYNC109 - bounded by contract
        topic: str = RECORDS,
    ) -> bool:
        """Whether every view has passed `offset` of `topic` in `shard`, waiting at most `timeout` seconds."""
        ...


class ReadYourWrites:
    """HOT: `newest(did)` is the place of an account's newest entry (`ingest.log.RepoIndex.newest`)."""

    waits_for = Kind.ACCESS

    def __init__(
        self,
        progress: Progress,
        newest: Callable[[str], tuple[int, int] | None],
        metrics: HttpMetrics,
        *,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._progress = progress
        self._newest = newest
        self._seconds = wait_seconds
        self._timed_out = metrics.stale_reads

    async def wait(self, viewer: str, said: str | None) -> None:  # noqa: ARG002 - here the log itself is asked
        place = self._newest(viewer)
        if place is not None and not await self._progress.reached(place[0], place[1], self._seconds):
            self._timed_out.inc()

    async def written(self, shard: int, offset: int) -> None:
        if not await self._progress.reached(shard, offset, self._seconds, OPERATIONS):
            self._timed_out.inc()

    async def rev(self, viewer: str, said: str | None, appview: AppViewReader) -> str | None:  # noqa: ARG002
        return await appview.repo_rev(viewer)  # all views are written in one transaction

    def since(self, viewer: str) -> None:
        """What one process keeps is what its store would say."""
