"""What becomes of an account: activated, deactivated, renamed, taken down, deleted.

The log first, then the row: what a crash keeps from the row is brought in by the replay at the next start. Each change
is made under the account's lock, so that no write is in flight when its state changes. Does not own creation
(creation.py) nor who may ask (api/).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ingest.identity import plc_op
from ingest.identity.plc_client import PlcClient
from ingest.identity.plc_op import PlcRefused
from ingest.identity.reasons import IdentityRefused
from ingest.identity.resolver import IdentityResolver
from ingest.log import PdsLog
from ingest.pds.accounts import AccountRow, Accounts
from ingest.pds.blobs import Blobs
from ingest.pds.commit_build import sync_entry
from ingest.pds.handles import check_service_handle, external_mismatch, parse_handle, service_domain
from ingest.pds.head import Head
from ingest.pds.heads import Heads
from ingest.pds.refusals import account_not_found, handle_taken, invalid_request, unavailable
from ingest.pds.sessions import Sessions
from ingest.repo.keys import PrivateKey
from schemas import crash
from schemas.datetimes import from_micros
from schemas.entries import Account, Entry, Identity, Moderation
from schemas.errors import XrpcError
from schemas.syntax import Did, Handle


class Lifecycle:
    """`now` gives unix microseconds."""

    def __init__(
        self,
        *,
        log: PdsLog,
        accounts: Accounts,
        heads: Heads,
        blobs: Blobs,
        sessions: Sessions,
        plc: PlcClient,
        resolver: IdentityResolver,
        rotation_key: PrivateKey,
        public_url: str,
        handle_domains: tuple[str, ...],
        now: Callable[[], int],
    ) -> None:
        self._log = log
        self._accounts = accounts
        self._heads = heads
        self._blobs = blobs
        self._sessions = sessions
        self._plc = plc
        self._resolver = resolver
        self._rotation_key = rotation_key
        self._public_url = public_url
        self._domains = handle_domains
        self._now = now
        self._wanted: set[Handle] = set()
        """Handles that an update under way is about to take."""

    async def activate(self, did: Did) -> None:
        """Raises XrpcError unless the DID document points here and names our key."""
        row = self._made(did)
        if not await self.is_document_ours(row):
            raise invalid_request("DID document does not name this server and this account's signing key")
        async with self._changing(did) as head:
            now = from_micros(self._now())
            entries: list[Entry] = [Identity(did, row.handle), Account(did, "active")]
            if head.root is not None:
                entries.append(sync_entry(did, head.root, now))
            await self._log.append_many(entries)
            await self._accounts.update(did, status="active")

    async def deactivate(self, did: Did) -> None:
        self._made(did)
        async with self._changing(did):
            await self._log.append(Account(did, "deactivated"))
            await self._accounts.update(did, status="deactivated")

    async def delete(self, did: Did) -> None:
        """One entry; derive makes the tombstones. Files go once the log has it."""
        self._made(did)
        async with self._changing(did):
            await self._log.append(Account(did, "deleted"))
            crash.point("account.mid_delete")
            await self.forget(did)

    async def forget(self, did: Did) -> None:
        """Remove what is here of an account that the log says is deleted. May be repeated."""
        self._heads.forget(did)
        await self._blobs.remove_all(did)
        await self._accounts.remove(did)

    async def take_down(self, did: Did, reference: str | None) -> None:
        """None reverses it. Sessions end."""
        self._made(did)
        async with self._changing(did):
            await self._log.append(Moderation(did, reference))
            await self._accounts.set_takedown(did, reference)
        if reference is not None:
            await self._sessions.end_all(did)

    async def update_handle(self, did: Did, text: str, *, allow_reserved: bool = False) -> Handle:
        """Validated, reserved, then the DID document, then the log, then the row. Raises XrpcError."""
        row = self._made(did)
        handle = await self.check_handle(text, did, allow_reserved=allow_reserved)
        owner = self._accounts.by_handle(handle)
        if (owner is not None and owner.did != did) or handle in self._wanted:
            raise handle_taken(handle)
        self._wanted.add(handle)
        try:
            await self._update_document(did, handle)
            async with self._changing(did):
                await self._log.append(Identity(did, handle))
                await self._accounts.update(did, handle=handle)
        finally:
            self._wanted.discard(handle)
            self._resolver.forget(row.did)
        return handle

    @asynccontextmanager
    async def _changing(self, did: Did) -> AsyncIterator[Head]:
        """Under the account's lock, and above the checkpoint until the row says what the log says."""
        async with self._heads.locked(did) as head:
            with self._heads.holding(did):
                yield head

    def is_wanted(self, handle: Handle) -> bool:
        """Whether an update under way is about to take it."""
        return handle in self._wanted

    async def check_handle(self, text: str, did: Did, *, allow_reserved: bool = False) -> Handle:
        """A handle that this account may take, if it is free."""
        handle = parse_handle(text)
        domain = service_domain(handle, self._domains)
        if domain is not None:
            check_service_handle(handle, domain, allow_reserved=allow_reserved)
            return handle
        try:
            found = await self._resolver.handle(handle, refresh=True)
        except IdentityRefused as refused:
            raise external_mismatch() from refused
        if found != did:
            raise external_mismatch()
        return handle

    async def is_document_ours(self, row: AccountRow) -> bool:
        """Whether the DID document names this server and the account's key."""
        try:
            document = await self._resolver.did_document(row.did, refresh=True)
        except IdentityRefused:
            return False
        return document.pds == self._public_url and document.signing_key == row.key.public

    async def _update_document(self, did: Did, handle: Handle) -> None:
        if did.method != "plc":
            document = await self._resolver.did_document(did, refresh=True)
            if handle not in document.handles[:1]:
                raise invalid_request("DID is not properly configured for handle")
            return
        try:
            last = plc_op.parse(await self._plc.last(did))
            known = (last.data(did) or {}).get("alsoKnownAs", [])
            others = [name for name in known if not name.startswith("at://")]
            names = [f"at://{handle}", *others]
            if names == known:
                return
            await self._plc.submit(did, plc_op.sign(plc_op.updated(last, also_known_as=names), self._rotation_key))
        except PlcRefused as refused:
            raise XrpcError("InvalidRequest", f"the PLC directory refused: {refused.detail}") from refused
        except IdentityRefused as refused:
            raise unavailable(f"the PLC directory did not answer: {refused.detail}") from refused

    def _made(self, did: Did) -> AccountRow:
        row = self._accounts.get(did)
        if row is None or row.status == "pending":
            raise account_not_found()
        return row
