"""Who may speak for an account, as its DID document says; how much it may send, and how many a host may bring.

Does not own documents (`ingest.identity.resolver`) nor signatures (`ingest.relay.verification`).
"""

from __future__ import annotations

from collections.abc import Callable

from ingest.identity.did_doc import DidDocument
from ingest.identity.resolver import DidResolver
from ingest.relay.intake_ports import Accounts
from ingest.relay.quotas import Windows
from ingest.relay.reasons import RelayReason
from ingest.relay.source import Source
from ingest.repo.verify import is_authoritative
from schemas.errors import Refused
from schemas.syntax import Did


class Authority:
    """`accounts` remembers where accounts were seen; `quota` is what an account may send. Either may be None."""

    def __init__(self, resolver: DidResolver, accounts: Accounts | None, quota: Windows | None) -> None:
        self._resolver = resolver
        self._accounts = accounts
        self._quota = quota
        self.is_banned: Callable[[str], bool] = lambda _: False
        """Whether nothing is taken of accounts at a host (its origin), whoever passes it on."""

    async def document(self, source: Source, did: Did, *, fresh: bool = False) -> DidDocument:
        """The account's document, if this source may speak for it.

        Raises Refused: NOT_AUTHORITATIVE, HOST_BANNED, IDENTITY_*.
        """
        document = await self._resolver.did_document(did, refresh=fresh)
        if source.kind == "upstream" and document.pds is not None and self.is_banned(document.pds):
            raise Refused(RelayReason.HOST_BANNED, f"{did} is at {document.pds}, which is banned here")
        if source.kind != "host" or is_authoritative(source.name, document.pds):
            return document
        if not fresh and source.refreshes.take():
            # The account may have moved here since the document was cached.
            document = await self._resolver.did_document(did, refresh=True)
            if is_authoritative(source.name, document.pds):
                return document
        raise Refused(RelayReason.NOT_AUTHORITATIVE, f"{did} is at {document.pds or 'no host'}, not at {source.name}")

    def count(self, source: Source, did: Did) -> None:
        """One more message of the account. Raises Refused(ACCOUNT_QUOTA).

        After it is known who may speak for the account: else anybody could use up what it may send.
        """
        if self._quota is not None and source.kind != "file" and not self._quota.take(did):
            raise Refused(RelayReason.ACCOUNT_QUOTA, f"{did} has sent all that an account may in an hour")

    def see(self, source: Source, did: Did, document: DidDocument) -> None:
        """Remember where the account is. Raises Refused(HOST_ACCOUNTS)."""
        if self._accounts is None:
            return
        host = source.name if source.kind == "host" else (document.pds or "").partition("://")[2]
        known = self._accounts.host_of(did)
        if known == host or not host:
            return
        if source.kind == "host" and not source.may_add_account():
            raise Refused(RelayReason.HOST_ACCOUNTS, f"{source.name} has all the accounts it may: raise its limit")
        self._accounts.see(did, host)

    def was_host(self, source: Source, did: Did) -> bool:
        """Whether the account was last seen at this host; a relay is believed."""
        return source.kind != "host" or (self._accounts is not None and self._accounts.host_of(did) == source.name)
