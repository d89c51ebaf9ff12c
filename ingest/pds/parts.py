"""What the PDS consists of: its parts made from what they need, started and stopped in order.

The order is the point: a part is made after those that it leans on, and closed before them. Does not own what each part
does (its own file) nor what endpoints may ask for (pds.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom

from ingest.identity.plc_client import PlcClient
from ingest.identity.resolver import IdentityResolver
from ingest.log import PdsLog, RepoIndex
from ingest.pds import secrets
from ingest.pds.account_files import AccountFiles
from ingest.pds.accounts import Accounts
from ingest.pds.announce import Announcer
from ingest.pds.blob_files import BlobFiles
from ingest.pds.blob_index import BlobIndex
from ingest.pds.blobs import Blobs
from ingest.pds.creation import Creation
from ingest.pds.did_docs import DidDocs
from ingest.pds.email_tokens import EmailTokens
from ingest.pds.heads import Heads
from ingest.pds.importer import Importer
from ingest.pds.lifecycle import Lifecycle
from ingest.pds.login import Login
from ingest.pds.mail import Mailbox
from ingest.pds.passwords import Passwords
from ingest.pds.preferences import Preferences
from ingest.pds.reads import Reads
from ingest.pds.replay import Replay
from ingest.pds.sessions import Sessions
from ingest.pds.settings import PdsSettings
from ingest.pds.tokens import Tokens
from ingest.pds.writer import Writer
from schemas.lexicon import Catalogue
from schemas.tid import CLOCK_ID_MAX, TidClock


class Parts:
    """`now` gives unix microseconds; `foreign` shows records of accounts that live elsewhere."""

    def __init__(
        self,
        directory: Path,
        *,
        log: PdsLog,
        foreign: RepoIndex | None = None,
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
        self.log = log
        self.resolver = resolver
        self.seconds = seconds
        rotation_key = secrets.load_or_create_key(directory / secrets.PLC_ROTATION_KEY)
        jwt_secret = secrets.load_or_create(directory / secrets.JWT_SECRET)
        self.tokens = Tokens(jwt_secret, service_did, settings.access_ttl, settings.refresh_ttl, seconds)
        self.accounts = accounts = Accounts(directory / "accounts.sqlite")
        self.files = files = AccountFiles(directory / "accounts", settings.open_files)
        self.blob_index = blob_index = BlobIndex(accounts)
        self.heads = heads = Heads(log, files, accounts, blob_index, settings)
        clock = TidClock(SystemRandom().randint(0, CLOCK_ID_MAX), now)
        self.writer = Writer(
            log=log,
            heads=heads,
            accounts=accounts,
            blobs=blob_index,
            catalogue=catalogue,
            clock=clock,
            now=now,
            settings=settings,
        )
        self.reads = Reads(foreign, heads, accounts, blob_index)
        self.blobs = Blobs(
            files=BlobFiles(directory / "blobs"),
            index=blob_index,
            accounts=accounts,
            heads=heads,
            settings=settings,
            now=seconds,
        )
        self.passwords = Passwords(settings)
        self.sessions = Sessions(accounts, settings.refresh_grace, settings.refresh_ttl)
        self.did_docs = DidDocs(plc, seconds)
        self.login = Login(
            accounts=accounts,
            passwords=self.passwords,
            sessions=self.sessions,
            tokens=self.tokens,
            did_docs=self.did_docs,
            now=seconds,
        )
        self.creation = Creation(
            log=log,
            accounts=accounts,
            heads=heads,
            passwords=self.passwords,
            plc=plc,
            rotation_key=rotation_key,
            public_url=public_url,
            clock=clock,
            now=now,
        )
        self.lifecycle = Lifecycle(
            log=log,
            accounts=accounts,
            heads=heads,
            blobs=self.blobs,
            sessions=self.sessions,
            plc=plc,
            resolver=resolver,
            rotation_key=rotation_key,
            public_url=public_url,
            handle_domains=settings.handle_domains,
            now=now,
        )
        self.importer = Importer(
            log=log,
            heads=heads,
            files=files,
            accounts=accounts,
            clock=clock,
            now=now,
            directory=directory / "imports",
            limit=settings.import_limit,
        )
        self.email_tokens = EmailTokens(accounts, settings.email_token_ttl)
        self.preferences = Preferences(accounts)
        self.mailbox = Mailbox(directory / "mail", f"headrace@{service_did.removeprefix('did:web:')}")
        self.replay = Replay(log, files, accounts, heads, self.lifecycle.forget)
        self.announcer = Announcer(directory, log=log, accounts=accounts, heads=heads, clock=clock, now=now)
        self._pending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bring what a crash left behind up to the log, then begin the work that goes on by itself."""
        self.log.follow(self.replay)
        await self.replay.run()
        await self.blobs.start()
        await self.creation.settle_pending()
        await self.announcer.run()
        self._pending = asyncio.create_task(self._settle_pending(), name="pds-pending")
        self.heads.start()

    async def close(self) -> None:
        """End the writes that have begun, bring every file up to the log."""
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.gather(self._pending, return_exceptions=True)
        await self.writer.close()
        await self.blobs.close()
        await self.heads.close()
        self.files.close()
        self.passwords.close()
        self.accounts.close()

    async def stopped(self) -> BaseException:
        """Waits until a part that works by itself has failed, and says why: the composition root ends the process."""
        tasks = [task for task in (self.heads.flusher, self.blobs.collector, self._pending) if task is not None]
        while tasks:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    return error
                tasks.remove(task)
        return await asyncio.Future()

    async def _settle_pending(self) -> None:
        while True:
            await asyncio.sleep(self.settings.pending_retry)
            await self.creation.settle_pending()
