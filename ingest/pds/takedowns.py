"""Taking down accounts, records and blobs, reversing it, and saying what is taken down.

Does not own what follows for an account (lifecycle.py) nor for the AppView (the log tells it).
"""

from __future__ import annotations

from ingest.derive import did_of
from ingest.log import Appender
from ingest.pds.accounts import Accounts
from ingest.pds.answers import Takedown
from ingest.pds.blob_index import BlobIndex
from ingest.pds.heads import Heads
from ingest.pds.lifecycle import Lifecycle
from ingest.pds.refusals import blob_not_found
from ingest.pds.writer import Writer
from schemas.cid import Cid
from schemas.entries import Moderation
from schemas.syntax import Did


class Takedowns:
    def __init__(
        self,
        *,
        log: Appender,
        accounts: Accounts,
        heads: Heads,
        blob_index: BlobIndex,
        lifecycle: Lifecycle,
        writer: Writer,
    ) -> None:
        self._log = log
        self._accounts = accounts
        self._heads = heads
        self._blob_index = blob_index
        self._lifecycle = lifecycle
        self._writer = writer

    async def take_down(self, subject: str, reference: str | None) -> None:
        """An account (a DID) or a record (an AT-URI); `reference` None reverses it."""
        if subject.startswith("did:"):
            await self._writer.finish(self._lifecycle.take_down(Did(subject), reference))
            return
        with self._heads.holding(did_of(entry := Moderation(subject, reference))):
            await self._log.append(entry)
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
