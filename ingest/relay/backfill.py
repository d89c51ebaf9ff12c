"""Backfills: every account of a host, or those that somebody names, fetched into the log while its stream goes on.

A job is kept in the relay's file until it is over, and goes on where it was after a crash; what failed is kept with its
reason. The adapter of `ingest.relay.backfill_view.BackfillDirectory`. Does not own how one runs
(`ingest.relay.backfill_job`), nor the file (`ingest.relay.backfill_store`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

import structlog

from ingest.relay.backfill_account import OUTCOMES
from ingest.relay.backfill_job import Job, JobParts
from ingest.relay.backfill_list import Listed
from ingest.relay.backfill_reasons import BackfillReason
from ingest.relay.backfill_store import JobRow
from ingest.relay.backfill_view import BackfillView
from ingest.relay.directory import HostView
from ingest.relay.quotas import Bucket, Rate
from ingest.relay.source import Source
from schemas.errors import Refused
from schemas.syntax import Did

JOBS_RUNNING = 100
_NAMED = "backfill"
_REFRESHES = Rate(50, 60.0)  # identities asked for anew, as of a host that is read

_log = structlog.get_logger()

HostOf = Callable[[str], Source | None]
"""The host as it is read, by name."""


class Backfill:
    """`run` until cancelled. `now` gives unix microseconds."""

    def __init__(self, parts: JobParts, *, host_of: HostOf, now: Callable[[], int]) -> None:
        self._parts = parts
        self._store = parts.store
        self._host_of = host_of
        self._now = now
        self._jobs: dict[int, Job] = {}
        self._new: asyncio.Queue[Job] = asyncio.Queue()
        self._store.restart()
        for row in self._store.jobs():
            if row.state == "running":
                self._enter(row)

    @property
    def waiting(self) -> int:
        """Accounts that are known and not done, of all jobs."""
        return sum(job.waiting for job in self._jobs.values())

    @property
    def became(self) -> Counter[str]:
        """Accounts that are done since the start, by what became of them."""
        return self._parts.became

    async def run(self) -> None:
        """An error of ours is raised."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                job = await self._new.get()
                if self._jobs.get(job.row.id) is job:
                    job.task = tasks.create_task(self._run(job), name=f"backfill {job.row.id}")

    # what is asked

    def backfills(self) -> list[BackfillView]:
        return [self._view(row) for row in self._store.jobs()]

    def backfill(self, number: int) -> BackfillView:
        row = self._store.job(number)
        if row is None:
            raise Refused(BackfillReason.UNKNOWN, f"no backfill {number} is known")
        return self._view(row)

    def failures(self, number: int, after: str, limit: int) -> list[tuple[str, str, str]]:
        return self._store.failures(number, after, limit)

    # what is done

    def of_host(self, host: HostView) -> BackfillView:
        for job in self._jobs.values():
            if (job.row.host, job.row.upstream) == (host.hostname, host.upstream):
                return self.backfill(job.row.id)
        return self._begin(host.hostname, host.url, upstream=host.upstream)

    def of_accounts(self) -> BackfillView:
        return self._begin("", "", upstream=True)

    def name(self, number: int, dids: Iterable[Did]) -> int:
        job = self._running(number)
        count = self._store.add(number, (Listed(did) for did in dids))
        job.came(count)
        return count

    def named(self, number: int) -> BackfillView:
        self._running(number).ends()
        return self.backfill(number)

    def stop(self, number: int) -> BackfillView:
        job = self._jobs.pop(number, None)
        if job is not None:
            if job.task is not None:
                job.task.cancel()
            self._store.end_job(number, "stopped", self._now())
        return self.backfill(number)

    def _running(self, number: int) -> Job:
        job = self._jobs.get(number)
        if job is None:
            raise Refused(BackfillReason.UNKNOWN, f"no backfill {number} is under way")
        return job

    def _begin(self, host: str, url: str, *, upstream: bool) -> BackfillView:
        if len(self._jobs) >= JOBS_RUNNING:
            raise Refused(BackfillReason.MANY, f"{JOBS_RUNNING} backfills are under way: wait for one, or stop one")
        row = self._store.add_job(host, url, upstream=upstream, now=self._now())
        self._enter(row)
        return self._view(row)

    def _enter(self, row: JobRow) -> None:
        # A relay passes on what others say, and whoever names accounts says nothing of them: their documents decide.
        alone = Source(row.host or _NAMED, "upstream" if row.upstream else "host", room=1, refreshes=Bucket(_REFRESHES))

        def source() -> Source:
            return (None if row.upstream else self._host_of(row.host)) or alone

        job = self._jobs[row.id] = Job(self._parts, row, source)
        self._new.put_nowait(job)

    async def _run(self, job: Job) -> None:
        await job.run()
        number = job.row.id
        del self._jobs[number]
        self._store.end_job(number, "done", self._now())
        view = self.backfill(number)
        _log.info("a backfill is done", host=view.host, became=view.became, failed=view.failed, trouble=view.trouble)

    def _view(self, row: JobRow) -> BackfillView:
        job = self._jobs.get(row.id)
        return BackfillView(
            row.id,
            row.host,
            row.upstream,
            row.state,
            row.listed,
            row.accounts,
            0 if job is None else job.waiting,
            {name: row.done[name] for name in OUTCOMES if row.done[name]},
            {reason: count for reason, count in row.done.items() if reason not in OUTCOMES},
            row.added,
            row.ended,
            row.trouble,
        )
