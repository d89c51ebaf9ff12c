"""Verification in a pool of processes: in order within an account, side by side across accounts.

While an account has messages under way its next ones go to the same process, which works in the order it is given; an
account with none goes to whichever has the least to do.

Bounded: messages and bytes that wait or are under way, the time a batch may take, the deaths a message may cause.
Processes that do not come up are our fault, and stop the pool.
Does not own one process's life (`pool_process`), what is sent (`pool_wire`), what holds (`ingest.repo.verify`), nor
that an account's next message is given only when its last one is in the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Self

from ingest.relay.pool_process import Counters, Pending, VerifyingProcess
from ingest.relay.pool_wire import Expected, job_of
from ingest.repo.keys import PublicKey
from ingest.repo.messages import CommitMessage, SyncMessage
from ingest.repo.verify import Verified
from schemas.entries import Sync
from schemas.errors import InvariantError

PENDING_MESSAGES = 4_096
PENDING_BYTES = 64 << 20  # of blocks; a single larger message passes when there is no other


class VerifierPool:
    """`async with VerifierPool(2) as pool: await pool.verify(...)`. Of one event loop, from start to close."""

    def __init__(
        self, processes: int, *, pending_messages: int = PENDING_MESSAGES, pending_bytes: int = PENDING_BYTES
    ) -> None:
        if processes < 1:
            raise InvariantError(f"expected at least one verifying process, found {processes}")
        self.counters = Counters()
        self._processes = [VerifyingProcess(self.counters, self._leave, self._fail) for _ in range(processes)]
        self._homes: dict[str, tuple[VerifyingProcess, int]] = {}
        self._most = (pending_messages, pending_bytes)
        self._messages = 0
        self._bytes = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._failure: BaseException | None = InvariantError("the pool is not running: start() it first")

    async def start(self) -> None:
        """Bring all processes up. Raises InvariantError when they do not come."""
        self._failure = None
        try:
            # All to their end: one that still starts would bring up a process behind `close`.
            ends = await asyncio.gather(*(process.start() for process in self._processes), return_exceptions=True)
        except BaseException:
            await self.close()
            raise
        failed = next((end for end in ends if end is not None), None)
        if failed is not None:
            await self.close()
            raise failed

    async def close(self) -> None:
        """End all processes; whoever still waits gets an InvariantError. May be called twice."""
        self._fail(InvariantError("the pool was closed while a message was verified: end its users first"))
        await asyncio.gather(*(process.stop() for process in self._processes))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def pending(self) -> tuple[int, int]:
        """Messages, and bytes of blocks, that wait for a process or are with one."""
        return self._messages, self._bytes

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes if process.pid is not None]

    async def verify(
        self,
        message: CommitMessage | SyncMessage,
        key: PublicKey,
        previous: Expected,
        now_micros: int,
        *,
        lenient: bool = False,
    ) -> Verified | Sync:
        """As `verify_commit` and `verify_sync`: raises Refused with a RepoReason.

        Raises InvariantError when the pool has failed. When it is cancelled the work may be done all the same.
        """
        size = len(message.blocks)
        if self._waiters or not self._has_room(size):
            await self._wait_for_room(size)
        else:
            self._take(size)
        if self._failure is not None:
            self._release(size)
            raise self._failure
        did = message.did
        home = self._homes.get(did)
        process, count = (min(self._processes, key=VerifyingProcess.load), 0) if home is None else home
        self._homes[did] = (process, count + 1)
        done: asyncio.Future[Verified | Sync] = asyncio.get_running_loop().create_future()
        process.put(Pending(message, job_of(message, key, previous, now_micros, lenient=lenient), size, done))
        return await done

    def _leave(self, pending: Pending) -> None:
        """A message has its answer, or never will."""
        did = pending.message.did
        process, count = self._homes[did]
        if count == 1:
            del self._homes[did]
        else:
            self._homes[did] = (process, count - 1)
        self._release(pending.size)

    def _has_room(self, size: int) -> bool:
        messages, most_bytes = self._most
        return not self._messages or (self._messages < messages and self._bytes + size <= most_bytes)

    def _take(self, size: int) -> None:
        self._messages += 1
        self._bytes += size

    def _release(self, size: int) -> None:
        self._messages -= 1
        self._bytes -= size
        self._let_in()

    async def _wait_for_room(self, size: int) -> None:
        """In the order of asking, so that an account's messages keep theirs."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((size, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._release(size)  # it was let in at the moment it was cancelled
            raise

    def _let_in(self) -> None:
        while self._waiters:
            size, waiter = self._waiters[0]
            if not waiter.cancelled():
                if self._failure is None and not self._has_room(size):
                    return
                self._take(size)
                waiter.set_result(None)
            self._waiters.popleft()

    def _fail(self, failure: BaseException) -> None:
        if self._failure is None:
            self._failure = failure
        for process in self._processes:
            process.give_up(self._failure)
        self._let_in()
