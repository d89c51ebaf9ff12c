"""What a message leads to: whose it is, who may speak for it, whether it holds; then the log decides.

An account whose chain is broken is handed to `Repairs`, which takes its messages until it has caught up. Does not own
order nor another try (`ingest.relay.intake`), nor the checks themselves (`ingest.relay.authority`,
`ingest.relay.verification`).
"""

from __future__ import annotations

from collections.abc import Callable

from ingest.identity.did_doc import DidDocument
from ingest.identity.reasons import IdentityRefused
from ingest.log import Head
from ingest.relay.authority import Authority
from ingest.relay.intake_ports import HandleOf, IntakeLog, Repairs
from ingest.relay.reasons import RelayReason
from ingest.relay.source import Numbered, Source
from ingest.relay.verification import Verification
from ingest.repo.messages import AccountMessage, CommitMessage, IdentityMessage, SyncMessage
from ingest.repo.verify import Previous, Verified
from schemas.entries import Account, Identity, Status
from schemas.errors import Refused
from schemas.syntax import Did

_STATUSES: dict[str, Status] = {
    "deactivated": "deactivated",
    "deleted": "deleted",
    "suspended": "suspended",
    "takendown": "takendown",
    "desynchronized": "desynchronized",
    "throttled": "throttled",
}
# States in which an account's commits are still its own: its host says that copies lag, not that it is closed.
OPEN: frozenset[Status] = frozenset(("active", "desynchronized", "throttled"))


class Judge:
    """`introduce` and `whole` as of `ingest.relay.intake.Intake`. `repairs` is set once there are any."""

    def __init__(
        self,
        log: IntakeLog,
        authority: Authority,
        verification: Verification,
        *,
        hosted: Callable[[str], bool],
        handle_of: HandleOf,
        introduce: bool,
        whole: bool,
    ) -> None:
        self._log = log
        self._authority = authority
        self._verification = verification
        self._hosted = hosted
        self._introduce = introduce
        self._whole = whole
        self.handle_of = handle_of
        self.repairs: Repairs | None = None

    def is_news(self, source: Source, message: Numbered) -> bool:
        """Whether the log has not what the message says of an account's repo; False where that cannot be told yet."""
        if source.progress.waiting or not isinstance(message, CommitMessage | SyncMessage):
            return False
        head = self._log.head(message.did)
        held = self.repairs is not None and self.repairs.holds(message.did)
        return not held and head is not None and head.rev is not None and message.rev > head.rev

    async def meet(self, source: Source, did: Did) -> DidDocument:
        """From its line: who an account is whose repo is fetched unasked; a new one is introduced. Raises Refused."""
        if self._hosted(did):
            raise Refused(RelayReason.HOSTED_HERE, f"{did} is hosted here: only its PDS writes it")
        document = await self._authority.document(source, did)
        self._authority.see(source, did, document)
        if self._introduce and self._log.head(did) is None:
            await self._identity(did, document, fresh=False)
        return document

    async def judge(self, source: Source, message: Numbered, *, again: bool) -> str:
        """Into the log; a word for what became of it. Raises Refused, Rejected, LogAwayError.

        `again`: what was remembered of the identity is that it could not be told.
        """
        did = message.did
        if self._hosted(did):
            raise Refused(RelayReason.HOSTED_HERE, f"{did} is hosted here: only its PDS writes it")
        if isinstance(message, AccountMessage):
            return await self._account(source, message, fresh=again)
        fresh = again or (isinstance(message, IdentityMessage) and source.refreshes.take())
        document = await self._authority.document(source, did, fresh=fresh)
        self._authority.count(source, did)
        self._authority.see(source, did, document)
        if isinstance(message, IdentityMessage):
            return await self._identity(did, document, fresh=fresh)
        head = self._log.head(did)
        if head is None and self._introduce:
            await self._identity(did, document, fresh=False)
            head = self._log.head(did)
        if head is not None and head.effective_status not in OPEN:
            raise Refused(RelayReason.ACCOUNT_INACTIVE, f"{did} is {head.effective_status}")
        if self.repairs is not None and self.repairs.holds(did):
            self.repairs.hold(source, message)
            return "held"
        return await self._repo(source, message, document, head)

    async def _repo(
        self, source: Source, message: CommitMessage | SyncMessage, document: DidDocument, head: Head | None
    ) -> str:
        previous = None if head is None or head.rev is None or head.data is None else Previous(head.rev, head.data)
        found = await self._verification.signed(source, message, document, previous)
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

    async def _account(self, source: Source, message: AccountMessage, *, fresh: bool) -> str:
        did = message.did
        try:
            document = await self._authority.document(source, did, fresh=fresh)
        except IdentityRefused as refused:
            # A DID that has ended can be nobody's; its last host may still say so.
            if refused.transient or not self._authority.was_host(source, did) or self._log.head(did) is None:
                raise
        else:
            self._authority.see(source, did, document)
        self._authority.count(source, did)
        await self._log.append(Account(did, status_of(message)))
        return "account"

    async def _identity(self, did: Did, document: DidDocument, *, fresh: bool) -> str:
        head = self._log.head(did)
        try:
            handle = await self.handle_of(did, document, fresh)
        except IdentityRefused as refused:
            if not refused.transient:
                raise
            # What cannot be told now stays as it was, as long as the account still claims it.
            held = None if head is None else head.handle
            handle = held if held is not None and held in document.handles[:1] else None
        await self._log.append(Identity(did, handle))
        return "identity"


def status_of(message: AccountMessage) -> Status:
    """An unknown word for "not active" hides as deactivation does."""
    return "active" if message.active else _STATUSES.get(message.status or "", "deactivated")
