"""One message after the other into the log: decoded once, in order within an account, side by side across accounts.

Steps of a message: whose it is (hosted here, quota), who may speak for it (the DID document's PDS is this host),
whether it holds (`Verifier`, with one refresh of the identity when the signature does not), then the log decides. What
does not hold is counted by source and reason and dropped; the stream goes on. What an account was at is always asked
of the log after its last append, so no verdict rests on a stale head.

An account whose chain is broken is handed to `Repairs`, which takes its messages until it has caught up.
Does not own connections, hosts, nor repos fetched whole (`ingest.relay.resync`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from ingest.identity.did_doc import DidDocument
from ingest.identity.reasons import IdentityRefused
from ingest.identity.resolver import DidResolver
from ingest.log import Appended, Head, LogAwayError, Reason, Rejected
from ingest.relay.lines import Lines
from ingest.relay.quotas import Windows
from ingest.relay.reasons import RelayReason
from ingest.relay.source import Numbered, Source
from ingest.relay.verifier import Verifier
from ingest.repo.frame import decode_frame
from ingest.repo.keys import PublicKey
from ingest.repo.messages import (
    AccountMessage,
    CommitMessage,
    ErrorMessage,
    IdentityMessage,
    InfoMessage,
    SyncMessage,
    UnknownMessage,
)
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import Previous, Verified, is_authoritative
from schemas.entries import Account, Entry, Identity, Status, Sync
from schemas.errors import Refused
from schemas.syntax import Did, Handle

# A host of its own that is away delays its account alone; the directory or the log, everybody: they are waited for.
_TRIES, _TRIES_WEB = 12, 4
_PAUSE, _PAUSE_MAX = 0.25, 30.0  # seconds, doubled each time
_STATUSES: dict[str, Status] = {
    "deactivated": "deactivated",
    "deleted": "deleted",
    "suspended": "suspended",
    "takendown": "takendown",
    "desynchronized": "desynchronized",
    "throttled": "throttled",
}
# States in which an account's commits are still its own: its host says that copies lag, not that it is closed.
_OPEN: frozenset[Status] = frozenset(("active", "desynchronized", "throttled"))


class IntakeLog(Protocol):
    """What an intake needs of a log."""

    async def append(self, entry: Entry) -> Appended: ...

    def head(self, did: str) -> Head | None: ...


class Accounts(Protocol):
    """Which host an account was last seen at."""

    def host_of(self, did: str) -> str | None: ...

    def see(self, did: Did, host: str) -> None: ...


class Repairs(Protocol):
    """Accounts that are out of step."""

    def holds(self, did: str) -> bool:
        """HOT: whether the account is being caught up with."""
        ...

    def hold(self, source: Source, message: CommitMessage | SyncMessage) -> None:
        """Keep a message until the account has caught up. Raises Refused(CATCHING_UP) when there is no room."""
        ...

    def begin(self, did: Did, url: str | None) -> None:
        """The account is out of step; `url` is its host's origin. Raises Refused when there is no room."""
        ...


HandleOf = Callable[[Did, DidDocument, bool], Awaitable[Handle | None]]
"""The handle that holds in both directions, asked for anew or as known. Raises IdentityRefused (transient)."""


class Intake:
    """`offer` frames; what they lead to is counted in their source. An error of ours ends it: see `Lines.failed`.

    `introduce`: an account that is met for the first time has its handle resolved, so that views can show it.
    `whole`: the repo of an account whose history is not known is fetched.
    """

    def __init__(
        self,
        lines: Lines,
        log: IntakeLog,
        resolver: DidResolver,
        verifier: Verifier,
        *,
        hosted: Callable[[str], bool],
        handle_of: HandleOf,
        accounts: Accounts | None = None,
        quota: Windows | None = None,
        lenient: bool = False,
        introduce: bool = True,
        whole: bool = False,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._log = log
        self._resolver = resolver
        self._verifier = verifier
        self._hosted = hosted
        self._handle_of = handle_of
        self._accounts = accounts
        self._quota = quota
        self._lenient = lenient
        self._introduce = introduce
        self._whole = whole
        self._now = now
        self._pause = pause
        self.lines = lines
        self.repairs: Repairs | None = None
        self.verify_seconds = 0.0
        self.verified = 0

    async def offer(self, source: Source, frame: bytes) -> InfoMessage | ErrorMessage | UnknownMessage | None:
        """HOT: put a frame's message in its account's line; waits for room. What is not of an account is given back.

        Raises Refused only for what ends a stream: bytes that are no frame (FRAME_*); and what has ended the lines.
        """
        self.lines.check()
        message = decode_frame(frame)
        if isinstance(message, InfoMessage | ErrorMessage | UnknownMessage):
            return message
        progress = source.progress
        if source.kind != "file" and message.seq <= progress.last:
            stale = Refused(RelayReason.SEQ_STALE, f"seq {message.seq} is not above {progress.last}")
            source.refused(stale, message.did)
            return None
        progress.begin(message.seq)
        await self.lines.put(
            source,
            message.did,
            len(frame),
            work=partial(self._take, source, message),
            done=partial(progress.done, message.seq),
        )
        return None

    async def _take(self, source: Source, message: Numbered) -> None:
        try:
            source.took(await self.take(source, message), message)
        except Refused as refused:
            source.refused(refused, message.did)

    async def take(self, source: Source, message: Numbered) -> str:
        """Into the log, from the account's line; a word for what became of it. Raises Refused, Rejected."""
        pause = _PAUSE
        again = False
        for left in reversed(range(_TRIES_WEB if message.did.method == "web" else _TRIES)):
            try:
                return await self._once(source, message, again=again)
            except IdentityRefused as refused:
                if not refused.transient or not left or source.kind == "file":
                    raise
            except Rejected as rejected:
                # Another writer's commit came between: the head is another one now, and says what this message is.
                if rejected.reason is not Reason.PREV_DATA_MISMATCH or not left:
                    raise
                continue
            except LogAwayError:
                if not left:
                    raise
            await self._pause(pause)
            pause, again = min(_PAUSE_MAX, pause * 2), True
        raise AssertionError("the last try returns or raises")

    async def _once(self, source: Source, message: Numbered, *, again: bool) -> str:
        """`again`: what was remembered of the identity is that it could not be told."""
        did = message.did
        if self._hosted(did):
            raise Refused(RelayReason.HOSTED_HERE, f"{did} is hosted here: only its PDS writes it")
        if isinstance(message, AccountMessage):
            return await self._account(source, message, fresh=again)
        fresh = again or (isinstance(message, IdentityMessage) and source.refreshes.take())
        document = await self._document(source, did, fresh=fresh)
        self._count(source, did)
        self._see(source, did, document)
        if isinstance(message, IdentityMessage):
            return await self._identity(did, document, fresh=fresh)
        head = self._log.head(did)
        if head is None and self._introduce:
            await self._identity(did, document, fresh=False)
            head = self._log.head(did)
        if head is not None and head.effective_status not in _OPEN:
            raise Refused(RelayReason.ACCOUNT_INACTIVE, f"{did} is {head.effective_status}")
        if self.repairs is not None and self.repairs.holds(did):
            self.repairs.hold(source, message)
            return "held"
        return await self._repo(source, message, document, head)

    async def _repo(
        self, source: Source, message: CommitMessage | SyncMessage, document: DidDocument, head: Head | None
    ) -> str:
        previous = None if head is None or head.rev is None or head.data is None else Previous(head.rev, head.data)
        found = await self._signed(source, message, document, previous)
        if isinstance(found, Verified):
            if not found.continuous:
                detail = f"{message.did}: rev {message.rev} does not follow {previous}"
                refused = Refused(RelayReason.DISCONTINUOUS, detail)
                if self.repairs is None:
                    raise refused
                source.dropped[refused.reason.value] += 1
                self.repairs.begin(message.did, document.pds)
                self.repairs.hold(source, message)
                return "held"
            await self._log.append(found.entry)
            after = self._log.head(message.did) if previous is None and self._whole else None
            if self.repairs is not None and after is not None and after.partial:
                self.repairs.begin(message.did, document.pds)
            return "commit"
        await self._log.append(found)
        after = self._log.head(message.did)
        if self.repairs is not None and after is not None and after.partial:
            self.repairs.begin(message.did, document.pds)
        return "sync"

    async def _signed(
        self, source: Source, message: CommitMessage | SyncMessage, document: DidDocument, previous: Previous | None
    ) -> Verified | Sync:
        key = _key(document)
        try:
            return await self._verify(message, key, previous)
        except Refused as refused:
            if refused.reason is not RepoReason.SIGNATURE or not source.refreshes.take():
                raise
            # The key may have been rotated since the document was cached.
            fresh = _key(await self._resolver.did_document(message.did, refresh=True))
            if fresh.did_key == key.did_key:
                raise
        return await self._verify(message, fresh, previous)

    async def _verify(
        self, message: CommitMessage | SyncMessage, key: PublicKey, previous: Previous | None
    ) -> Verified | Sync:
        began = time.perf_counter()
        try:
            return await self._verifier.verify(message, key, previous, self._now(), lenient=self._lenient)
        finally:
            self.verify_seconds += time.perf_counter() - began
            self.verified += 1

    async def _account(self, source: Source, message: AccountMessage, *, fresh: bool) -> str:
        did = message.did
        try:
            document = await self._document(source, did, fresh=fresh)
        except IdentityRefused as refused:
            # A DID that has ended can be nobody's; its last host may still say so.
            last = None if self._accounts is None else self._accounts.host_of(did)
            if refused.transient or (source.kind == "host" and last != source.name) or self._log.head(did) is None:
                raise
        else:
            self._see(source, did, document)
        self._count(source, did)
        await self._log.append(Account(did, status_of(message)))
        return "account"

    async def _identity(self, did: Did, document: DidDocument, *, fresh: bool) -> str:
        head = self._log.head(did)
        try:
            handle = await self._handle_of(did, document, fresh)
        except IdentityRefused as refused:
            if not refused.transient:
                raise
            # What cannot be told now stays as it was, as long as the account still claims it.
            held = None if head is None else head.handle
            handle = held if held is not None and held in document.handles[:1] else None
        await self._log.append(Identity(did, handle))
        return "identity"

    async def _document(self, source: Source, did: Did, *, fresh: bool = False) -> DidDocument:
        """The account's document, if this source may speak for it."""
        document = await self._resolver.did_document(did, refresh=fresh)
        if source.kind != "host" or is_authoritative(source.name, document.pds):
            return document
        if not fresh and source.refreshes.take():
            # The account may have moved here since the document was cached.
            document = await self._resolver.did_document(did, refresh=True)
            if is_authoritative(source.name, document.pds):
                return document
        raise Refused(RelayReason.NOT_AUTHORITATIVE, f"{did} is at {document.pds or 'no host'}, not at {source.name}")

    def _count(self, source: Source, did: Did) -> None:
        """After it is known who may speak for the account: else anybody could use up what it may send."""
        if self._quota is not None and source.kind != "file" and not self._quota.take(did):
            raise Refused(RelayReason.ACCOUNT_QUOTA, f"{did} has sent all that an account may in an hour")

    def _see(self, source: Source, did: Did, document: DidDocument) -> None:
        if self._accounts is None:
            return
        host = source.name if source.kind == "host" else (document.pds or "").partition("://")[2]
        known = self._accounts.host_of(did)
        if known == host or not host:
            return
        if source.kind == "host" and not source.may_add_account():
            raise Refused(RelayReason.HOST_ACCOUNTS, f"{source.name} has all the accounts it may: raise its limit")
        self._accounts.see(did, host)


def _key(document: DidDocument) -> PublicKey:
    if document.signing_key is None:
        raise Refused(RelayReason.NO_SIGNING_KEY, f"{document.did} has no #atproto key")
    return document.signing_key


def status_of(message: AccountMessage) -> Status:
    """An unknown word for "not active" hides as deactivation does."""
    return "active" if message.active else _STATUSES.get(message.status or "", "deactivated")
