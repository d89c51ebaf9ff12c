"""The PDS: accounts, their repos and blobs, behind one object that endpoints call. No HTTP.

Raises XrpcError with the reference's names and statuses. Puts the parts together and says what may be shown to whom;
what each part does is its own file's. Does not own the log nor identity resolution, which it is given.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from random import SystemRandom

from ingest.identity.plc_client import PlcClient
from ingest.identity.reasons import IdentityRefused
from ingest.identity.resolver import IdentityResolver
from ingest.log import Log
from ingest.pds import secrets
from ingest.pds.account_files import AccountFiles
from ingest.pds.accounts import AccountRow, Accounts
from ingest.pds.answers import AccountStatus, RepoDescription, RepoStatus, Takedown
from ingest.pds.blob_files import BlobFiles
from ingest.pds.blob_index import BlobIndex
from ingest.pds.blobs import Blobs, OpenBlob
from ingest.pds.creation import Creation, NewAccount
from ingest.pds.did_docs import DidDocs
from ingest.pds.email_tokens import EmailTokens
from ingest.pds.handles import check_new_handle
from ingest.pds.heads import Heads
from ingest.pds.importer import Importer
from ingest.pds.lifecycle import Lifecycle
from ingest.pds.login import Login, Session
from ingest.pds.mail import Mailbox
from ingest.pds.passwords import NEW_PASSWORD_MAX, Passwords
from ingest.pds.reads import MissingBlob, Reads, RecordView
from ingest.pds.refusals import (
    account_not_found,
    account_taken_down,
    auth_required,
    blob_not_found,
    handle_taken,
    invalid_request,
    record_not_found,
    repo_inactive,
    repo_not_found,
)
from ingest.pds.replay import Replay
from ingest.pds.sessions import Sessions
from ingest.pds.settings import PdsSettings
from ingest.pds.tokens import ACCESS_SCOPES, Auth, Tokens
from ingest.pds.writer import Applied, Writer
from ingest.pds.writes import Write
from ingest.repo.keys import KeyRefused, PublicKey
from schemas.cid import Cid
from schemas.data import BlobRef
from schemas.entries import Moderation
from schemas.lexicon import Catalogue
from schemas.syntax import AtUri, Did, Handle
from schemas.tid import CLOCK_ID_MAX, TidClock

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+").fullmatch
_EMAIL_MAX = 320


class Pds:
    """Make one with `await Pds.open(...)`; `now` gives unix microseconds."""

    def __init__(
        self,
        directory: Path,
        *,
        log: Log,
        plc: PlcClient,
        resolver: IdentityResolver,
        catalogue: Catalogue,
        service_did: str,
        public_url: str,
        settings: PdsSettings,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        def seconds() -> float:
            return now() / 1_000_000

        secrets.private_directory(directory)
        self.settings = settings
        self.service_did = service_did
        self._log = log
        self._resolver = resolver
        self._seconds = seconds
        rotation_key = secrets.load_or_create_key(directory / secrets.PLC_ROTATION_KEY)
        jwt_secret = secrets.load_or_create(directory / secrets.JWT_SECRET)
        self.tokens = Tokens(jwt_secret, service_did, settings.access_ttl, settings.refresh_ttl, seconds)
        self._accounts = accounts = Accounts(directory / "accounts.sqlite")
        self._files = files = AccountFiles(directory / "accounts", settings.open_files)
        self._blob_index = blob_index = BlobIndex(accounts)
        self._heads = heads = Heads(log, files, accounts, blob_index, settings)
        clock = TidClock(SystemRandom().randint(0, CLOCK_ID_MAX), now)
        self._writer = Writer(
            log=log,
            heads=heads,
            accounts=accounts,
            blobs=blob_index,
            catalogue=catalogue,
            clock=clock,
            now=now,
            settings=settings,
        )
        self._reads = Reads(log, heads, accounts, blob_index)
        self._blobs = Blobs(
            files=BlobFiles(directory / "blobs"),
            index=blob_index,
            accounts=accounts,
            heads=heads,
            settings=settings,
            now=seconds,
        )
        self._passwords = Passwords(settings)
        self._sessions = Sessions(accounts, settings.refresh_grace, settings.refresh_ttl)
        self._did_docs = DidDocs(plc, seconds)
        self._login = Login(
            accounts=accounts,
            passwords=self._passwords,
            sessions=self._sessions,
            tokens=self.tokens,
            did_docs=self._did_docs,
            now=seconds,
        )
        self._creation = Creation(
            log=log,
            accounts=accounts,
            heads=heads,
            passwords=self._passwords,
            plc=plc,
            rotation_key=rotation_key,
            public_url=public_url,
            clock=clock,
            now=now,
        )
        self._lifecycle = Lifecycle(
            log=log,
            accounts=accounts,
            heads=heads,
            blobs=self._blobs,
            sessions=self._sessions,
            plc=plc,
            resolver=resolver,
            rotation_key=rotation_key,
            public_url=public_url,
            handle_domains=settings.handle_domains,
            now=now,
        )
        self._importer = Importer(
            log=log,
            heads=heads,
            accounts=accounts,
            clock=clock,
            now=now,
            directory=directory / "imports",
            limit=settings.import_limit,
        )
        self._email_tokens = EmailTokens(accounts, settings.email_token_ttl)
        self._mailbox = Mailbox(directory / "mail", f"headrace@{service_did.removeprefix('did:web:')}")
        self._replay = Replay(log, files, accounts, heads, self._lifecycle.forget)
        self._pending: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        log: Log,
        plc: PlcClient,
        resolver: IdentityResolver,
        catalogue: Catalogue,
        service_did: str,
        public_url: str,
        settings: PdsSettings,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> Pds:
        """Bring what a crash left behind up to the log, then serve."""
        pds = cls(
            directory,
            log=log,
            plc=plc,
            resolver=resolver,
            catalogue=catalogue,
            service_did=service_did,
            public_url=public_url,
            settings=settings,
            now=now,
        )
        await pds._replay.run()
        await pds._blobs.start()
        if await pds._creation.settle_pending():
            pds._pending = asyncio.create_task(pds._settle_pending(), name="pds-pending")
        pds._heads.start()
        return pds

    async def _settle_pending(self) -> None:
        while True:
            await asyncio.sleep(self.settings.pending_retry)
            if not await self._creation.settle_pending():
                return

    @property
    def open_account_files(self) -> int:
        return len(self._files)

    async def close(self) -> None:
        """End the writes that have begun, bring every file up to the log."""
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.gather(self._pending, return_exceptions=True)
        await self._writer.close()
        await self._blobs.close()
        await self._heads.close()
        self._files.close()
        self._passwords.close()
        self._accounts.close()

    async def stopped(self) -> BaseException:
        """Waits until a part that works by itself has failed, and says why: the composition root ends the process."""
        tasks = [task for task in (self._heads.flusher, self._blobs.collector, self._pending) if task is not None]
        while tasks:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    return error
                tasks.remove(task)
        return await asyncio.Future()

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
        if password is not None and len(password) > NEW_PASSWORD_MAX:
            raise invalid_request(f"Password too long. Maximum length is {NEW_PASSWORD_MAX} characters.")
        if not email:
            raise invalid_request("Email is required")
        email = email.lower()
        if len(email) > _EMAIL_MAX or _EMAIL(email) is None:
            raise invalid_request("This email address is not supported, please use a different email.")
        if recovery_key is not None:
            try:
                PublicKey.from_did_key(recovery_key)
            except KeyRefused as refused:
                raise invalid_request(f"Invalid recoveryKey: {refused.detail}") from refused
        if did is None:
            checked = check_new_handle(handle, self.settings.handle_domains)
        else:
            if did != requester:
                raise auth_required(f"Missing auth to create account with did: {did}")
            checked = await self._lifecycle.check_handle(handle, did)
        if self._accounts.by_handle(checked) is not None or self._lifecycle.is_wanted(checked):
            raise handle_taken(checked)
        if self._accounts.by_email(email) is not None:
            raise invalid_request(f"Email already taken: {email}")
        new = NewAccount(checked, email, password, did, recovery_key)
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
        if self._own(did).takedown is not None:
            raise account_taken_down()
        await self._writer.finish(self._lifecycle.activate(did))

    async def deactivate_account(self, did: Did) -> None:
        await self._writer.finish(self._lifecycle.deactivate(did))

    async def check_account_status(self, did: Did) -> AccountStatus:
        row = self._own(did)
        head = await self._heads.get(did)
        if head.root is None:
            raise repo_not_found(did)
        valid = await self._lifecycle.is_document_ours(row)
        counts = await self._reads.counts(did)
        return AccountStatus(row.status == "active", valid, head.root.cid, head.root.rev, counts)

    async def request_account_delete(self, did: Did) -> None:
        """Mail a token to the account's address."""
        row = self._own(did)
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
        """Whether the account lives here, in whatever state. HOT: asked of every firehose event."""
        row = self._accounts.get(did)
        return row is not None and row.status != "pending"

    # --- writes ---

    def own_repo(self, account: Did, repo: str) -> Did:
        """The repo that a write names by DID or handle, which must be the caller's. HOT. Raises XrpcError."""
        if repo == account:
            return account
        row = self._hosted(repo)
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
        if self._own(did).takedown is not None:
            raise account_taken_down()
        await self._writer.finish(self._importer.run(did, chunks))

    async def upload_blob(self, did: Did, chunks: AsyncIterator[bytes], mime: str) -> BlobRef:
        """Deactivated accounts may (a migration brings its blobs before it is activated)."""
        if self._own(did).takedown is not None:
            raise account_taken_down()
        return await self._blobs.upload(did, chunks, mime)

    # --- reads of com.atproto.repo ---

    async def get_record(self, repo: str, collection: str, rkey: str, cid: Cid | None = None) -> RecordView:
        """Of an account elsewhere, what the log knows. Raises XrpcError RecordNotFound."""
        path = f"{collection}/{rkey}"
        row = self._hosted(repo)
        if row is None:
            did = Did(repo) if repo.startswith("did:") else await self.resolve_handle(repo)
            return self._reads.foreign_record(did, path, cid)
        if not row.active:
            raise record_not_found(AtUri(f"at://{row.did}/{path}"))
        return await self._reads.record(row.did, path, cid)

    async def list_records(
        self, repo: str, collection: str, *, limit: int = 50, cursor: str | None = None, reverse: bool = False
    ) -> tuple[list[RecordView], str | None]:
        row = self._hosted(repo)
        if row is None or not row.active:
            raise invalid_request(f"Could not find repo: {repo}")
        return await self._reads.records(row.did, collection, limit=limit, cursor=cursor, reverse=reverse)

    async def describe_repo(self, repo: str) -> RepoDescription:
        row = self._hosted(repo)
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

    # --- reads of com.atproto.sync: `as_owner` shows what is hidden from others ---

    def repo_status(self, did: Did) -> RepoStatus:
        """Raises XrpcError RepoNotFound."""
        row = self._accounts.get(did)
        if row is None or row.status == "pending":
            raise repo_not_found(did)
        return self._status(row)

    async def latest_commit(self, did: Did, *, as_owner: bool = False) -> RepoStatus:
        """`rev` and `commit` are set. Raises XrpcError RepoNotFound, RepoDeactivated, RepoTakendown."""
        status = self._status(self._shown(did, as_owner=as_owner))
        if status.commit is None:
            raise repo_not_found(did)
        return status

    def list_repos(self, *, cursor: str | None = None, limit: int = 500) -> tuple[list[RepoStatus], str | None]:
        """In order of creation, inactive ones too; the cursor is "microseconds::did"."""
        page = self._accounts.page(_position(cursor), limit)
        rows = [row for _, did in page if (row := self._accounts.get(did)) is not None]
        last = f"{page[-1][0]}::{page[-1][1]}" if page else None
        return [self._status(row) for row in rows], last

    async def repo_car(self, did: Did, since: str | None = None, *, as_owner: bool = False) -> AsyncIterator[bytes]:
        return await self._reads.car(self._shown(did, as_owner=as_owner).did, since)

    async def blocks(self, did: Did, cids: Sequence[Cid], *, as_owner: bool = False) -> tuple[bytes, list[Cid]]:
        """A CAR of those blocks, and which are not there."""
        return await self._reads.blocks(self._shown(did, as_owner=as_owner).did, cids)

    async def record_proof(self, did: Did, collection: str, rkey: str, *, as_owner: bool = False) -> bytes:
        """A CAR that proves that a record is there, or that it is not."""
        return await self._reads.proof(self._shown(did, as_owner=as_owner).did, f"{collection}/{rkey}")

    async def list_blobs(
        self,
        did: Did,
        *,
        since: str | None = None,
        cursor: str | None = None,
        limit: int = 500,
        as_owner: bool = False,
    ) -> tuple[list[Cid], str | None]:
        row = self._shown(did, as_owner=as_owner)
        return await self._reads.blobs(row.did, since=since, cursor=cursor, limit=limit)

    async def open_blob(self, did: Did, cid: Cid, *, as_owner: bool = False) -> OpenBlob:
        """Raises XrpcError BlobNotFound, also for temporary blobs of others' accounts."""
        return self._blobs.open(self._shown(did, as_owner=as_owner).did, cid)

    # --- moderation ---

    async def take_down(self, subject: str, reference: str | None) -> None:
        """An account (a DID) or a record (an AT-URI); `reference` None reverses it."""
        if subject.startswith("did:"):
            await self._writer.finish(self._lifecycle.take_down(Did(subject), reference))
            return
        await self._log.append(Moderation(subject, reference))
        await self._accounts.set_takedown(subject, reference)

    async def take_down_blob(self, did: Did, cid: Cid, reference: str | None) -> None:
        if not await self._blob_index.set_takedown(did, cid, reference):
            raise blob_not_found()

    def takedown(self, subject: str) -> Takedown | None:
        """Of an account or a record; None when there is no such account here."""
        if not subject.startswith("did:"):
            return Takedown(subject, self._accounts.record_takedown(subject))
        row = self._accounts.get(subject)
        return None if row is None else Takedown(subject, row.takedown, row.status == "deactivated")

    def blob_takedown(self, did: Did, cid: Cid) -> Takedown | None:
        row = self._blob_index.get(did, cid)
        return None if row is None else Takedown(str(cid), row.takedown)

    # --- who ---

    def _hosted(self, repo: str) -> AccountRow | None:
        row = self._accounts.get(repo) if repo.startswith("did:") else self._accounts.by_handle(repo.lower())
        return None if row is None or row.status == "pending" else row

    def _own(self, did: Did) -> AccountRow:
        row = self._accounts.get(did)
        if row is None or row.status == "pending":
            raise account_not_found()
        return row

    def _shown(self, did: Did, *, as_owner: bool) -> AccountRow:
        row = self._accounts.get(did)
        if row is None or row.status == "pending":
            raise repo_not_found(did)
        if not row.active and not as_owner:
            raise repo_inactive(did, row.effective_status)
        return row

    def _status(self, row: AccountRow) -> RepoStatus:
        known = self._log.head(row.did)
        rev, commit = (None, None) if known is None else (known.rev, known.commit)
        return RepoStatus(row.did, row.active, None if row.active else row.effective_status, rev, commit)


def _position(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return (-1, "")
    created, _, did = cursor.partition("::")
    if not created.isdigit() or not Did.is_valid(did):
        raise invalid_request("Malformed cursor")
    return (int(created), did)
