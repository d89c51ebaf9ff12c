"""The life of a blob: received, kept until nothing refers to it, collected.

A blob is durable before a record may refer to it, and goes only when, under the account's lock, no record refers to
it: with the last reference, or an hour after an upload that nothing came to refer to. Rows say what a crash left
half-done (blob_index.py). Does not own the files (blob_files.py) nor HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from ingest.pds.accounts import Accounts
from ingest.pds.blob_files import BlobFiles
from ingest.pds.blob_index import BlobIndex
from ingest.pds.heads import Heads
from ingest.pds.refusals import blob_not_found
from ingest.pds.settings import PdsSettings
from schemas import crash
from schemas.cid import Cid
from schemas.data import BlobRef
from schemas.errors import XrpcError
from schemas.syntax import Did

_PAGE = 200


@dataclass(frozen=True, slots=True)
class OpenBlob:
    """What is served: `chunks` are read as they are sent."""

    mime: str
    size: int
    chunks: AsyncIterator[bytes]


class Blobs:
    """`now` gives unix seconds."""

    def __init__(
        self,
        *,
        files: BlobFiles,
        index: BlobIndex,
        accounts: Accounts,
        heads: Heads,
        settings: PdsSettings,
        now: Callable[[], float],
    ) -> None:
        self._files = files
        self._index = index
        self._accounts = accounts
        self._heads = heads
        self._settings = settings
        self._now = now
        self.collector: asyncio.Task[None] | None = None
        self.collected = 0

    async def start(self) -> None:
        """Undo what a crash left between two steps, then collect in the background."""
        for did, cid in self._index.unfinished():
            await asyncio.to_thread(self._files.remove, did, cid)
            await self._index.forget(did, cid)
        self.collector = asyncio.create_task(self._collect_for_ever(), name="pds-blobs")

    async def upload(self, did: Did, chunks: AsyncIterator[bytes], mime: str) -> BlobRef:
        """Durable when it returns; temporary until a record refers to it. Raises XrpcError 413."""
        incoming = await self._files.receive(chunks, mime, self._settings.blob_limit)
        try:
            async with self._heads.locked(did):
                known = await self._index.begin(did, incoming.cid, incoming.mime, incoming.size, int(self._now()))
                if known is not None and known.takedown is not None:
                    raise XrpcError("InvalidRequest", "Blob has been takendown, cannot re-upload")
                if known is not None and self._files.path(did, incoming.cid).exists():
                    return BlobRef(incoming.cid, known.mime, known.size)
                crash.point("blob.before_rename")
                await asyncio.to_thread(self._files.keep, did, incoming)
                crash.point("blob.after_rename")
                await self._index.set_state(did, (incoming.cid,), "temporary")
        finally:
            self._files.drop_incoming(incoming)
        return BlobRef(incoming.cid, incoming.mime, incoming.size)

    def open(self, did: Did, cid: Cid) -> OpenBlob:
        """Raises XrpcError BlobNotFound."""
        row = self._index.get(did, cid)
        if row is None or row.takedown is not None or not self._files.path(did, cid).exists():
            raise blob_not_found()
        return OpenBlob(row.mime, row.size, self._files.read(did, cid))

    async def collect(self, min_age: float | None = None) -> int:
        """One round over blobs that may have lost their last reference; how many went."""
        age = self._settings.blob_gc_age if min_age is None else min_age
        gone = 0
        while suspects := self._index.suspects(int(self._now() - age), _PAGE):
            judged = [await self._judge(did, cid) for did, cid in suspects]
            gone += judged.count("gone")
            if set(judged) == {"later"}:
                break
        self.collected += gone
        return gone

    async def _judge(self, did: Did, cid: Cid) -> Literal["gone", "kept", "later"]:
        if self._accounts.get(did) is None:
            await self._remove(did, cid)
            return "gone"
        try:
            async with self._heads.locked(did) as head:
                if head.refers_to(cid):
                    await self._index.set_state(did, (cid,), "referenced")
                    return "kept"
                await self._remove(did, cid)
                return "gone"
        except XrpcError:  # being deleted, or not to be read just now
            return "later"

    async def _remove(self, did: Did, cid: Cid) -> None:
        await self._index.set_state(did, (cid,), "deleting")
        crash.point("blob.mid_collect")
        await asyncio.to_thread(self._files.remove, did, cid)
        await self._index.forget(did, cid)

    async def remove_all(self, did: Did) -> None:
        """The account is gone; its rows went with it."""
        await asyncio.to_thread(self._files.remove_all, did)

    async def _collect_for_ever(self) -> None:
        while True:
            # Once in a while also without a hint. Not wait_for, which in Python 3.11 swallows a cancellation that comes
            # when the hint does: whoever closes us would wait for ever.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.blob_gc_interval):
                    await self._heads.dropped.wait()
            self._heads.dropped.clear()
            await self.collect()

    async def close(self) -> None:
        if self.collector is not None:
            self.collector.cancel()
            await asyncio.gather(self.collector, return_exceptions=True)
