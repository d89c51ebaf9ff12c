"""Accounts out of step catch up: their repo is fetched whole from their host and enters the log as a diff.

1. While an account catches up its messages are held, bounded; what was held is taken in order once the diff is in,
   before anything that came later. Those at or below the diff's rev are dropped as stale.
2. What does not fit is let go, and the account is fetched once more at the end.
3. The queue is saved with the cursors that have passed the held messages: after a crash the repo is fetched anew.
4. A failed fetch is tried again, later each time; after the last try the account is left as it is, until its next
   message finds it out of step again.
5. A host that makes us wait for what does not come is left alone with all its accounts (`ingest.relay.fetch_places`).

Does not own what is done with a repo (`ingest.relay.whole_repos`), nor who is out of step.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from time import time_ns
from typing import Protocol

from ingest.identity.reasons import IdentityRefused
from ingest.identity.resolver import DidResolver
from ingest.log import LogAwayError
from ingest.relay.fetch_places import FetchPlaces
from ingest.relay.intake import Intake
from ingest.relay.lines import Lines
from ingest.relay.reasons import LETS_US_WAIT, RelayReason
from ingest.relay.repo_diff import RepoLog
from ingest.relay.source import Source
from ingest.relay.weight import weight
from ingest.relay.whole_repos import Fetch, WholeRepos
from ingest.repo.messages import CommitMessage, SyncMessage
from schemas.errors import Refused
from schemas.syntax import Did

ACCOUNTS_MAX = 100_000
HELD_MESSAGES = 1_000  # of an account
HELD_BYTES = 64 << 20  # of all
TRIES = 8
_FIRST_PAUSE, _LAST_PAUSE = 5.0, 3_600.0


class Job:
    """An account that catches up. `draining`: the diff is in, and what was held is being taken."""

    __slots__ = ("again", "did", "draining", "due", "held", "size", "tries", "url")

    def __init__(self, did: Did, url: str, due: float, tries: int = 0) -> None:
        self.did = did
        self.url = url
        self.due = due
        self.tries = tries
        self.held: list[tuple[Source, CommitMessage | SyncMessage]] = []
        self.size = 0
        self.again = False
        self.draining = False


class Saved(Protocol):
    """The queue as it is on disk, written with the cursors."""

    def repairs(self) -> list[tuple[Did, str, int]]: ...

    def put_repair(self, did: Did, url: str, tries: int) -> None: ...

    def drop_repair(self, did: Did) -> None: ...


class Resync:
    """`ingest.relay.intake_ports.Repairs`; `run` until cancelled. Seconds are of the loop's clock."""

    def __init__(
        self,
        log: RepoLog,
        intake: Intake,
        lines: Lines,
        resolver: DidResolver,
        *,
        saved: Saved,
        fetch: Fetch,
        repo_limit: int,
        at_once: int = 4,
        at_once_host: int = 2,
        now: Callable[[], int] = lambda: time_ns() // 1000,
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        self._intake = intake
        self._lines = lines
        self._saved = saved
        self._repos = WholeRepos(log, resolver, fetch, repo_limit, now)
        self._places = FetchPlaces(at_once, at_once_host, longest=_LAST_PAUSE)
        self._first_pause = first_pause
        self._jobs: dict[str, Job] = {}
        self._queue: list[tuple[float, int, Job | str]] = []
        """When to look at a job, or at a host for which some wait."""
        self._for_host: dict[str, deque[Job]] = {}
        self._number = 0
        self.held_bytes = 0
        self._woken = asyncio.Event()
        self.waits: Callable[[str], bool] = lambda _: False
        """Whether what comes of an account is held elsewhere (`ingest.relay.strangers`): its repair is to be kept."""
        self.is_banned: Callable[[str], bool] = lambda _: False
        """Whether a host (its origin) is asked for nothing."""
        self.done = 0
        self.given_up = 0
        self.failures: Counter[str] = Counter()
        for did, url, tries in saved.repairs():
            self._enter(Job(did, url, 0.0, tries))

    def __len__(self) -> int:
        """Accounts that catch up."""
        return len(self._jobs)

    def holds(self, did: str) -> bool:
        """HOT."""
        job = self._jobs.get(did)
        return job is not None and not job.draining

    def begin(self, did: Did, url: str | None) -> None:
        """Raises Refused: no host to fetch from, or too many accounts catch up."""
        if self.holds(did):
            return
        if url is None:
            raise Refused(RelayReason.HOST_NO_PDS, f"{did} names no host to fetch its repo from")
        if len(self._jobs) >= ACCOUNTS_MAX:
            raise Refused(RelayReason.CATCHING_UP, f"{len(self._jobs)} accounts are catching up: {did} has to wait")
        self._saved.put_repair(did, url, 0)
        self._enter(Job(did, url, 0.0))

    async def fetch(self, did: Did, url: str) -> None:
        """Catch up with an account now, in the caller's turn, once, also with one that is in step.

        Raises Refused: CATCHING_UP when it is being fetched as it is; else why it could not be had, and then what was
        held has been taken as it came.
        """
        if did in self._jobs or len(self._jobs) >= ACCOUNTS_MAX:
            raise Refused(RelayReason.CATCHING_UP, f"{did} is catching up, or {ACCOUNTS_MAX} others are")
        job = self._jobs[did] = Job(did, url, 0.0)
        self._saved.put_repair(did, url, 0)
        why: Refused | None = None
        try:
            # What came before is taken, and then the head stands still. Work in a line is not cut short.
            await asyncio.shield(self._lines.in_line(did, _passed()))
            await self._catch_up(job)
        except Refused as refused:
            why = refused
        except (asyncio.CancelledError, LogAwayError):
            self._put(job, 0.0)  # what is held has to have its diff before it
            raise
        await asyncio.shield(self._lines.in_line(did, self._drain(job, caught_up=why is None)))
        if why is not None:
            self.failures[why.reason.value] += 1
            raise why

    def hold(self, source: Source, message: CommitMessage | SyncMessage) -> None:
        job = self._jobs[message.did]
        size = weight(message)
        if job.again or len(job.held) >= HELD_MESSAGES or self.held_bytes + size > HELD_BYTES:
            # What is behind a gap is of no use: the repo is fetched again once it has been.
            self._let_go(job)
            job.again = True
            raise Refused(RelayReason.CATCHING_UP, f"{message.did}: no room to hold what comes while it catches up")
        job.held.append((source, message))
        job.size += size
        self.held_bytes += size

    async def run(self) -> None:
        """Fetch what is due, until cancelled. An error of ours ends it and is raised."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._woken.clear()
                pause = self._start_due(tasks)
                try:
                    async with asyncio.timeout(pause):
                        await self._woken.wait()
                except TimeoutError:
                    continue

    def _start_due(self, tasks: asyncio.TaskGroup) -> float | None:
        """Start what may be; the seconds until something else may."""
        clock = asyncio.get_running_loop().time()
        while self._queue and self._places.free:
            due, _, found = self._queue[0]
            if due > clock:
                return due - clock
            heapq.heappop(self._queue)
            if isinstance(found, str):
                self._start_of(found, clock, tasks)
            elif found.url in self._for_host:
                self._for_host[found.url].append(found)
            else:
                self._for_host[found.url] = deque((found,))
                self._start_of(found.url, clock, tasks)
        return None

    def _start_of(self, host: str, clock: float, tasks: asyncio.TaskGroup) -> None:
        """What may be of those that wait for a host. However many do, it is looked at again as one."""
        waiting, again = self._for_host[host], clock
        while waiting and self._places.free:
            if self._jobs.get(waiting[0].did) is not waiting[0]:
                waiting.popleft()
                continue
            closed_until = self._places.closed_until(host, clock)
            if closed_until is not None:
                again = closed_until
                break
            self._places.take(host)
            tasks.create_task(self._work(waiting.popleft()))
        if waiting:
            self._push(again, host)
        else:
            del self._for_host[host]

    async def _work(self, job: Job) -> None:
        url = job.url
        try:
            await self._catch_up(job)
        except Refused as refused:
            self.failures[refused.reason.value] += 1
            if refused.reason in LETS_US_WAIT:
                self._places.made_us_wait(job.url, asyncio.get_running_loop().time(), self._first_pause)
            # That it cannot be told who the account is says nothing about its repo.
            self._try_later(job, counts=not (isinstance(refused, IdentityRefused) and refused.transient))
        else:
            self._places.gave(job.url)
            await self._lines.in_line(job.did, self._drain(job))
        finally:
            self._places.leave(url)
            self._woken.set()

    async def _catch_up(self, job: Job) -> None:
        job.url = await self._repos.home(job.did, job.url, refresh=job.tries > 0)
        if self.is_banned(job.url):
            raise Refused(RelayReason.HOST_BANNED, f"{job.did} is at {job.url}, which is banned here")
        await self._repos.bring(job.did, job.url)

    async def _drain(self, job: Job, *, caught_up: bool = True) -> None:
        """In the account's line: take what was held."""
        job.draining = True
        held = job.held
        self._let_go(job)
        for source, message in held:
            try:
                source.took(await self._intake.take(source, message), message)
            except Refused as refused:
                source.refused(refused, message.did)
        self.done += caught_up
        if self._jobs.get(job.did) is not job:
            return  # what was held has broken the chain again: another job has begun
        del self._jobs[job.did]
        if job.again:
            self._enter(Job(job.did, job.url, 0.0))
        else:
            self._forget(job.did)

    def _try_later(self, job: Job, *, counts: bool = True) -> None:
        job.tries += counts
        if job.tries >= TRIES:
            self.given_up += 1
            self._let_go(job)
            del self._jobs[job.did]
            self._forget(job.did)
            return
        self._saved.put_repair(job.did, job.url, job.tries)
        pause = min(_LAST_PAUSE, self._first_pause * 2.0 ** max(0, job.tries - 1))
        jitter = 0.5 + random.random()  # noqa: S311 - nothing to guess
        self._put(job, asyncio.get_running_loop().time() + pause * jitter)

    def _forget(self, did: Did) -> None:
        if not self.waits(did):
            self._saved.drop_repair(did)

    def _enter(self, job: Job) -> None:
        self._jobs[job.did] = job
        self._put(job, job.due)

    def _put(self, job: Job, due: float) -> None:
        job.due = due
        self._push(due, job)
        self._woken.set()

    def _push(self, due: float, what: Job | str) -> None:
        self._number += 1
        heapq.heappush(self._queue, (due, self._number, what))

    def _let_go(self, job: Job) -> None:
        self.held_bytes -= job.size
        job.size = 0
        job.held = []


async def _passed() -> None:
    """Nothing, in an account's line: done once all before it is."""
