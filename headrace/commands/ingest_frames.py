"""Firehose frames from a file into the log: parsed, verified, appended; per account in the file's order.

The file is frames one after the other, each [u32 little-endian length][bytes]. Accounts hosted here are refused: only
their PDS writes them. Does not own verification (`ingest.repo.verify`), the verdict (`ingest.verdict`) nor where the
bytes come from (`headrace/commands/ingest.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from typing import get_args

from headrace.did_docs import DidDocs
from headrace.outcomes import Outcomes
from ingest.identity.resolver import DidResolver
from ingest.log import Log, Rejected
from ingest.repo.frame import decode_frame
from ingest.repo.keys import PublicKey
from ingest.repo.messages import AccountMessage, CommitMessage, IdentityMessage, SyncMessage
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import Previous, verify_commit, verify_sync
from schemas.entries import Account, Entry, Identity, Status
from schemas.errors import Refused
from schemas.limits import FRAME_MAX
from schemas.syntax import Did

# Appends under way: enough for the log's group commit, few enough that memory stays small.
_CONCURRENT = 64
_STATES = frozenset(get_args(Status))


class FeedReason(StrEnum):
    """Why an ingested frame is refused before verification or after it."""

    FILE_TRUNCATED = "file_truncated"
    HOSTED_HERE = "hosted_here"
    NO_SIGNING_KEY = "no_signing_key"
    DISCONTINUOUS = "discontinuous"


class FrameFeed:
    """Feeds one file. `hosted` says which accounts this network's own PDS has."""

    def __init__(
        self,
        log: Log,
        resolver: DidResolver,
        hosted: Callable[[str], bool],
        *,
        trust_handles: bool = False,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._log = log
        self._resolver = resolver
        self._hosted = hosted
        self._trust_handles = trust_handles
        self._now = now
        self._outcomes = Outcomes("frames")
        self._room = asyncio.Semaphore(_CONCURRENT)
        self._last: dict[str, asyncio.Task[None]] = {}

    async def run(self, pieces: AsyncIterator[bytes]) -> Outcomes:
        """Everything up to the file's end. An error of ours ends it and is raised."""
        async with asyncio.TaskGroup() as tasks:
            try:
                async for frame in frames(pieces):
                    await self._start(frame, tasks)
            except Refused as refused:
                self._outcomes.refuse(refused)
        return self._outcomes

    async def _start(self, frame: bytes, tasks: asyncio.TaskGroup) -> None:
        try:
            message = decode_frame(frame)
        except Refused as refused:
            self._outcomes.refuse(refused)
            return
        if not isinstance(message, CommitMessage | SyncMessage | IdentityMessage | AccountMessage):
            self._outcomes.ignore()
            return
        await self._room.acquire()
        did = message.did
        task = self._last[did] = tasks.create_task(self._take(message, self._last.get(did)))
        task.add_done_callback(lambda done: self._finished(did, done))

    def _finished(self, did: str, task: asyncio.Task[None]) -> None:
        self._room.release()
        if self._last.get(did) is task:
            del self._last[did]

    async def _take(
        self,
        message: CommitMessage | SyncMessage | IdentityMessage | AccountMessage,
        before: asyncio.Task[None] | None,
    ) -> None:
        if before is not None:
            await asyncio.wait((before,))
        try:
            await self._log.append(await self._verify(message))
        except (Refused, Rejected) as refused:
            self._outcomes.refuse(refused, message.did)
        else:
            self._outcomes.accept()

    async def _verify(self, message: CommitMessage | SyncMessage | IdentityMessage | AccountMessage) -> Entry:
        did = message.did
        if self._hosted(did):
            raise Refused(FeedReason.HOSTED_HERE, f"{did} is hosted here: only its PDS writes it")
        if isinstance(message, AccountMessage):
            return Account(did, _status(message))
        if isinstance(message, IdentityMessage):
            document = await self._resolver.did_document(did, refresh=True)
            return Identity(did, document.handles[0] if self._trust_handles and document.handles else None)
        head = self._log.head(did)
        if head is None and self._trust_handles:
            document = await self._resolver.did_document(did)
            if document.handles:
                await self._log.append(Identity(did, document.handles[0]))
        previous = None if head is None or head.rev is None or head.data is None else Previous(head.rev, head.data)
        return await self._signed(message, previous)

    async def _signed(self, message: CommitMessage | SyncMessage, previous: Previous | None) -> Entry:
        key = await self._key(message.did)
        try:
            return self._check(message, key, previous)
        except Refused as refused:
            if refused.reason is not RepoReason.SIGNATURE or isinstance(self._resolver, DidDocs):
                raise
        # The key may have been rotated since the document was cached.
        return self._check(message, await self._key(message.did, refresh=True), previous)

    def _check(self, message: CommitMessage | SyncMessage, key: PublicKey, previous: Previous | None) -> Entry:
        if isinstance(message, SyncMessage):
            return verify_sync(message, key, previous, self._now())
        verified = verify_commit(message, key, previous, self._now())
        if not verified.continuous:
            raise Refused(FeedReason.DISCONTINUOUS, f"{message.did}: rev {message.rev} does not follow {previous}")
        return verified.entry

    async def _key(self, did: Did, *, refresh: bool = False) -> PublicKey:
        document = await self._resolver.did_document(did, refresh=refresh)
        if document.signing_key is None:
            raise Refused(FeedReason.NO_SIGNING_KEY, f"{did} has no #atproto key")
        return document.signing_key


def _status(message: AccountMessage) -> Status:
    if message.active:
        return "active"
    # An unknown word for "not active" hides as deactivation does.
    return message.status if message.status in _STATES and message.status != "active" else "deactivated"  # type: ignore[return-value]


async def frames(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole frames out of a stream. Raises Refused(FILE_TRUNCATED, FRAME_SIZE); holds one frame and one piece."""
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        at = 0
        while len(buffer) - at >= 4:
            size = int.from_bytes(buffer[at : at + 4], "little")
            if size > FRAME_MAX:
                expected = f"expected [u32 little-endian length][bytes], at most {FRAME_MAX}"
                raise Refused(RepoReason.FRAME_SIZE, f"a frame of {size} bytes: {expected}")
            if len(buffer) - at - 4 < size:
                break
            yield bytes(buffer[at + 4 : at + 4 + size])
            at += 4 + size
        del buffer[:at]
    if buffer:
        raise Refused(FeedReason.FILE_TRUNCATED, f"the file ends inside a frame, {len(buffer)} bytes over")
