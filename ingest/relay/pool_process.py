"""One verifying process and what waits for it: batches there, answers back, a new process when it dies.

What waits goes in one batch; at most `BATCHES` are under way, so that it does not stand idle while answers come back.
What a process that dies had under way is done again, one message at a time. The message that ends a second process,
alone in it, is refused as `verifier_died`; a batch that takes too long ends its process as well.
Does not own which process a message goes to (`ingest.relay.pool`) nor what runs in it (`pool_worker`).
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from ingest.relay.pool_wire import LENGTH_SIZE, Answer, Job, outcome_of, pack, unpack_answers
from ingest.relay.pool_worker import READY
from ingest.repo.messages import CommitMessage, SyncMessage
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import Verified
from schemas.entries import Sync
from schemas.errors import InvariantError, Refused

BATCH_MESSAGES = 64
BATCH_BYTES = 1 << 20
BATCHES = 2
BATCH_SECONDS = 60.0  # some 5 ms is usual; the slowest commit that the limits allow takes under a second
START_SECONDS = 60.0
STARTS = 3
STOP_SECONDS = 10.0
_SOCKET_BUFFER = 1 << 20


@dataclass(eq=False, slots=True)
class Pending:
    """A message on its way; `size` is that of its blocks, `deaths` are those of processes that had it."""

    message: CommitMessage | SyncMessage
    job: Job
    size: int
    done: asyncio.Future[Verified | Sync]
    deaths: int = 0


@dataclass(slots=True)
class Counters:
    """Messages answered, processes that died at work, messages that were given to a second one."""

    answered: int = 0
    deaths: int = 0
    redone: int = 0


class VerifyingProcess:
    """`leave` is told of each message that is done with, `fail` when no process comes up any more."""

    def __init__(
        self, counters: Counters, leave: Callable[[Pending], None], fail: Callable[[BaseException], None]
    ) -> None:
        self._counters = counters
        self._leave = leave
        self._fail = fail
        self._process: subprocess.Popen[bytes] | None = None
        self._link: asyncio.WriteTransport | None = None
        self._ready: asyncio.Future[None] | None = None
        self._waiting: deque[Pending] = deque()
        self._suspects: deque[Pending] = deque()
        self._batches: deque[list[Pending]] = deque()
        self._under_way = 0
        self._flush: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._restart: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def load(self) -> int:
        """Messages that wait or are under way."""
        return len(self._waiting) + len(self._suspects) + self._under_way

    async def start(self) -> None:
        """Raises InvariantError when a few attempts have not brought a process up."""
        self._stopping = False
        for _ in range(STARTS):
            if await self._spawn():
                return
        raise InvariantError(
            f"a verifying process did not come up in {STARTS} attempts: what it wrote to stderr says why "
            f"(it is run as {sys.executable} -m ingest.relay.pool_worker)"
        )

    async def stop(self) -> None:
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
            await asyncio.gather(self._restart, return_exceptions=True)
        await self._end()

    def put(self, pending: Pending) -> None:
        """Goes with all that is put before the loop's next turn."""
        self._waiting.append(pending)
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_soon(self._send)

    def give_up(self, failure: BaseException) -> None:
        """Whoever waits is told."""
        lost = [pending for batch in self._batches for pending in batch] + [*self._suspects, *self._waiting]
        for held in (self._batches, self._suspects, self._waiting):
            held.clear()
        self._under_way = 0
        for pending in lost:
            if not pending.done.done():
                pending.done.set_exception(failure)
            self._leave(pending)

    def _send(self) -> None:
        self._flush = None
        while self._link is not None and (self._waiting or self._suspects) and len(self._batches) < BATCHES:
            if self._suspects:
                if self._batches:
                    return
                batch = [self._suspects.popleft()]
            else:
                if self._batches and self._batches[0][0].deaths:
                    return  # a suspect works alone
                batch = self._gather()
            self._batches.append(batch)
            self._under_way += len(batch)
            try:
                self._link.write(pack([pending.job for pending in batch]))
            except BaseException as failure:
                self._fail(failure)  # the loop only logs what a callback raises
                raise
            self._watch()

    def _gather(self) -> list[Pending]:
        batch: list[Pending] = []
        size = 0
        while self._waiting and len(batch) < BATCH_MESSAGES:
            size += self._waiting[0].size
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        overdue = self._process.kill if self._process is not None and self._batches else None
        self._timer = overdue and asyncio.get_running_loop().call_later(BATCH_SECONDS, overdue)

    def answered(self, answers: list[Answer]) -> None:
        """The answers to the oldest batch. HOT."""
        if not self._batches:
            return  # given up
        batch = self._batches.popleft()
        self._under_way -= len(batch)
        self._counters.answered += len(batch)
        self._watch()
        for pending, answer in zip(batch, answers, strict=True):
            if not pending.done.done():
                try:
                    pending.done.set_result(outcome_of(pending.message, answer))
                except Refused as refused:
                    pending.done.set_exception(refused)
            self._leave(pending)
        self._send()

    def came_up(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def died(self) -> None:
        """The other end of the link is gone."""
        was_up, self._link = self._link is not None, None
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(ConnectionResetError("the process ended before it was ready"))
        if self._stopping or not was_up:
            return
        self._counters.deaths += 1
        lost = [pending for batch in self._batches for pending in batch]
        self._batches.clear()
        self._under_way = 0
        self._watch()
        for pending in reversed(lost):
            pending.deaths += 1
            if len(lost) == 1 and pending.deaths > 1:
                detail = f"two verifying processes ended at this message of {pending.message.did}"
                if not pending.done.done():
                    pending.done.set_exception(Refused(RepoReason.VERIFIER_DIED, detail))
                self._leave(pending)
            else:
                self._counters.redone += 1
                self._suspects.appendleft(pending)
        self._restart = asyncio.get_running_loop().create_task(self._come_again())
        self._restart.add_done_callback(self._tell)

    async def _come_again(self) -> None:
        await self._end()
        await self.start()
        self._send()

    def _tell(self, restart: asyncio.Task[None]) -> None:
        if not restart.cancelled() and (failure := restart.exception()) is not None:
            self._fail(failure)

    async def _spawn(self) -> bool:
        """Whether a process is up; the link carries batches from then on."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
            ours.setblocking(False)
            # -P: the directory where the relay was started is nowhere to import from.
            command = [sys.executable, "-P", "-m", "ingest.relay.pool_worker", str(theirs.fileno())]
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own module; a fork takes a millisecond
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        self._ready = loop.create_future()
        link, _ = await loop.create_unix_connection(lambda: _Link(self), sock=ours)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ready
        except (TimeoutError, ConnectionResetError):
            link.abort()
            await self._end()
            return False
        except BaseException:
            link.abort()
            raise
        if link.is_closing():  # it ended in the moment it was ready
            await self._end()
            return False
        self._link = cast("asyncio.WriteTransport", link)
        return True

    async def _end(self) -> None:
        """Close the link, and see the process out."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._link is not None:
            self._link.abort()
            self._link = None
        process, self._process = self._process, None
        if process is None:
            return
        try:
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)


class _Link(asyncio.Protocol):
    """Cuts what the process sends into batches of answers."""

    def __init__(self, process: VerifyingProcess) -> None:
        self._process = process
        self._buffer = bytearray()
        self._up = False

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._up:
            if not buffer.startswith(READY):
                return
            del buffer[: len(READY)]
            self._up = True
            self._process.came_up()
        while len(buffer) >= LENGTH_SIZE:
            end = LENGTH_SIZE + int.from_bytes(buffer[:LENGTH_SIZE], "little")
            if len(buffer) < end:
                return
            answers = unpack_answers(bytes(buffer[LENGTH_SIZE:end]))
            del buffer[:end]
            self._process.answered(answers)

    def connection_lost(self, _: Exception | None) -> None:
        self._process.died()
