"""The PDS: accounts, their repos and blobs, behind one object that endpoints call. No HTTP.

Raises XrpcError with the reference's names and statuses. Says which parts answer a call and for whom; what each part
does is its own file's, how they are put together is parts.py's. Does not own the log nor identity resolution.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ingest.identity.reasons import IdentityRefused
from ingest.pds.answers import AccountStatus, RepoDescription
from ingest.pds.hosted import Hosted
from ingest.pds.login import Session
from ingest.pds.operators import Operators
from ingest.pds.parts import Parts
from ingest.pds.reads import MissingBlob, RecordView
from ingest.pds.refusals import auth_required, invalid_request, record_not_found, repo_not_found
from ingest.pds.signup import Signup
from ingest.pds.sync_reads import SyncReads
from ingest.pds.takedowns import Takedowns
from ingest.pds.tokens import ACCESS_SCOPES, Auth
from ingest.pds.writer import Applied
from ingest.pds.writes import Write
from schemas.cid import Cid
from schemas.data import BlobRef
from schemas.syntax import AtUri, Did, Handle


class Pds:
    """Make one with `await Pds.open(Parts(...))`; `sync`, `takedowns` and `operators` are rooms of their own."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.settings = parts.settings
        self.service_did = parts.service_did
        self.tokens = parts.tokens
        self._accounts = parts.accounts
        self._heads = parts.heads
        self._writer = parts.writer
        self._reads = parts.reads
        self._blobs = parts.blobs
        self._did_docs = parts.did_docs
        self._login = parts.login
        self._sessions = parts.sessions
        self._creation = parts.creation
        self._lifecycle = parts.lifecycle
        self._importer = parts.importer
        self._email_tokens = parts.email_tokens
        self._mailbox = parts.mailbox
        self._preferences = parts.preferences
        self._resolver = parts.resolver
        self._seconds = parts.seconds
        self._hosted = hosted = Hosted(parts.accounts)
        self._signup = Signup(parts.accounts, parts.lifecycle, parts.settings.handle_domains)
        self.sync = SyncReads(parts.log, parts.accounts, hosted, parts.reads, parts.blobs)
        self.operators = Operators(
            accounts=parts.accounts,
            hosted=hosted,
            lifecycle=parts.lifecycle,
            passwords=parts.passwords,
            sessions=parts.sessions,
            writer=parts.writer,
        )
        self.takedowns = Takedowns(
            log=parts.log,
            accounts=parts.accounts,
            heads=parts.heads,
            blob_index=parts.blob_index,
            lifecycle=parts.lifecycle,
            writer=parts.writer,
        )

    @classmethod
    async def open(cls, parts: Parts) -> Pds:
        """Bring what a crash left behind up to the log, then serve."""
        await parts.start()
        return cls(parts)

    async def close(self) -> None:
        await self._parts.close()

    async def stopped(self) -> BaseException:
        """Waits until a part that works by itself has failed, and says why: the composition root ends the process."""
        return await self._parts.stopped()

    @property
    def open_account_files(self) -> int:
        return len(self._parts.files)

    def checkpoints(self) -> dict[int, int]:
        """By shard, the offset of `commits` that account files are complete to: the log keeps what lies above."""
        return self._heads.checkpoints()

    # --- accounts and sessions ---

    def authenticate(self, token: str, scopes: frozenset[str] = ACCESS_SCOPES) -> Auth:
        """Whom an access token speaks for. HOT. Raises XrpcError InvalidToken or ExpiredToken."""
        return self.tokens.verify_access(token, scopes)

    async def create_account(
        self,
        *,
        handle: str,
        email: str | None,
        password: str | None,
        did: Did | None = None,
        requester: Did | None = None,
        recovery_key: str | None = None,
    ) -> Session:
        """Whole or not at all. An account that moves here brings `did`, and `requester` proves that it is theirs."""
        new = await self._signup.check(
            handle=handle,
            email=email,
            password=password,
            did=did,
            requester=requester,
            recovery_key=recovery_key,
        )
        row = await self._writer.finish(self._creation.create(new))
        return await self._login.start(row)

    async def create_session(self, identifier: str, password: str, *, allow_takendown: bool = False) -> Session:
        return await self._login.create(identifier, password, allow_takendown=allow_takendown)

    async def refresh_session(self, did: Did, token_id: str) -> Session:
        return await self._login.refresh(did, token_id)

    async def get_session(self, did: Did) -> Session:
        return await self._login.describe(did)

    async def delete_session(self, token_id: str) -> None:
        await self._sessions.end(token_id)

    def service_auth(self, did: Did, aud: str, lxm: str | None = None, exp: int | None = None) -> str:
        """A token by which the account calls another service; `exp` is unix seconds. Raises BadExpiration."""
        return self._login.service_token(did, aud, lxm, exp)

    async def activate_account(self, did: Did) -> None:
        self._hosted.not_taken_down(did)
        await self._writer.finish(self._lifecycle.activate(did))

    async def deactivate_account(self, did: Did) -> None:
        await self._writer.finish(self._lifecycle.deactivate(did))

    async def check_account_status(self, did: Did) -> AccountStatus:
        row = self._hosted.own(did)
        head = await self._heads.get(did)
        if head.root is None:
            raise repo_not_found(did)
        valid = await self._lifecycle.is_document_ours(row)
        counts = await self._reads.counts(did)
        return AccountStatus(row.status == "active", valid, head.root.cid, head.root.rev, counts)

    async def request_account_delete(self, did: Did) -> None:
        """Mail a token to the account's address."""
        row = self._hosted.own(did)
        if row.email is None:
            raise invalid_request("account does not have an email address")
        now = self._seconds()
        token = await self._email_tokens.create(did, "delete_account", int(now))
        text = f"To delete the account {row.handle} ({did}) and all its records, use this token:\n\n{token}\n"
        await asyncio.to_thread(self._mailbox.send, row.email, "Account deletion", text, now)

    async def delete_account(self, did: Did, password: str, token: str) -> None:
        if self._accounts.get(did) is None:
            raise invalid_request("account not found")
        if await self._login.check_password(did, password) is None:
            raise auth_required("Invalid did or password")
        self._email_tokens.check(did, "delete_account", token, int(self._seconds()))
        await self._writer.finish(self._lifecycle.delete(did))

    async def update_handle(self, did: Did, handle: str, *, allow_reserved: bool = False) -> Handle:
        updated = await self._writer.finish(self._lifecycle.update_handle(did, handle, allow_reserved=allow_reserved))
        self._did_docs.forget(did)
        return updated

    async def local_handle(self, handle: Handle) -> Did | None:
        """The account of this PDS that has a handle: what handle resolution asks for our own domains."""
        row = self._accounts.by_handle(handle)
        return row.did if row is not None and row.active else None

    async def resolve_handle(self, handle: str) -> Did:
        """Raises XrpcError InvalidRequest "Unable to resolve handle"."""
        name = Handle.parse(handle)
        found = await self.local_handle(name)
        if found is None and not name.endswith(self.settings.handle_domains):
            try:
                found = await self._resolver.handle(name)
            except IdentityRefused:
                found = None
        if found is None:
            raise invalid_request("Unable to resolve handle")
        return found

    def hosts(self, did: str) -> bool:
        """Whether the account lives here, in whatever state."""
        return self._hosted.get(did) is not None

    def speaks_for(self, did: str) -> bool:
        """As `hosts`, and also while the account is being made. HOT: asked of every firehose event.

        Its first events are in the log, and subscribers read them, a moment before its row says that it is made.
        """
        return self._accounts.get(did) is not None

    # --- what clients keep ---

    def preferences(self, did: Did) -> list[Any]:
        self._hosted.not_taken_down(did)
        return self._preferences.get(did)

    async def put_preferences(self, did: Did, items: list[Any]) -> None:
        """Deactivated accounts may (a migration brings them before it is activated)."""
        self._hosted.not_taken_down(did)
        await self._preferences.put(did, items)

    # --- writes ---

    def own_repo(self, account: Did, repo: str) -> Did:
        """The repo that a write names by DID or handle, which must be the caller's. HOT. Raises XrpcError."""
        if repo == account:
            return account
        row = self._hosted.find(repo)
        if row is None:
            raise invalid_request(f"Could not find repo: {repo}")
        if row.did != account:
            raise auth_required()
        return account

    async def apply_writes(
        self, did: Did, writes: Sequence[Write], *, swap_commit: Cid | None = None, validate: bool | None = None
    ) -> Applied:
        """HOT. All of them in one commit, or none."""
        return await self._writer.apply(did, writes, swap_commit=swap_commit, validate=validate)

    async def import_repo(self, did: Did, chunks: AsyncIterator[bytes]) -> None:
        self._hosted.not_taken_down(did)
        await self._writer.finish(self._importer.run(did, chunks))

    async def upload_blob(self, did: Did, chunks: AsyncIterator[bytes], mime: str) -> BlobRef:
        """Deactivated accounts may (a migration brings its blobs before it is activated)."""
        self._hosted.not_taken_down(did)
        return await self._blobs.upload(did, chunks, mime)

    # --- reads of com.atproto.repo ---

    async def get_record(self, repo: str, collection: str, rkey: str, cid: Cid | None = None) -> RecordView:
        """Of an account elsewhere, what the log knows. Raises XrpcError RecordNotFound."""
        path = f"{collection}/{rkey}"
        row = self._hosted.find(repo)
        if row is None:
            did = Did(repo) if repo.startswith("did:") else await self.resolve_handle(repo)
            return self._reads.foreign_record(did, path, cid)
        if not row.active:
            raise record_not_found(AtUri(f"at://{row.did}/{path}"))
        return await self._reads.record(row.did, path, cid)

    async def held(self, did: Did, path: str) -> Cid | None:
        """The CID of a record, taken down or not: of an account here, or of what the log knows of others."""
        return await self._reads.held(did, path) if self.hosts(did) else self._reads.foreign_held(did, path)

    async def list_records(
        self, repo: str, collection: str, *, limit: int = 50, cursor: str | None = None, reverse: bool = False
    ) -> tuple[list[RecordView], str | None]:
        row = self._hosted.find(repo)
        if row is None or not row.active:
            raise invalid_request(f"Could not find repo: {repo}")
        return await self._reads.records(row.did, collection, limit=limit, cursor=cursor, reverse=reverse)

    async def describe_repo(self, repo: str) -> RepoDescription:
        row = self._hosted.find(repo)
        if row is None or not row.active:
            raise invalid_request(f"Could not find user: {repo}")
        document = await self._did_docs.get(row.did)
        if document is None:
            raise invalid_request(f"Could not resolve DID: Error: Could not resolve DID: {row.did}")
        correct = f"at://{row.handle}" in document.get("alsoKnownAs", [])[:1]
        return RepoDescription(row.did, row.handle, document, await self._reads.collections(row.did), correct)

    async def list_missing_blobs(
        self, did: Did, *, cursor: str | None = None, limit: int = 500
    ) -> tuple[list[MissingBlob], str | None]:
        return await self._reads.missing_blobs(did, cursor=cursor, limit=limit)
