"""A message against its account's key, with one look for a newer key when the signature does not hold; counted.

Does not own the checks (`ingest.repo.verify`), nor where they run (`ingest.relay.verifier`, `ingest.relay.pool`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ingest.identity.did_doc import DidDocument
from ingest.identity.resolver import DidResolver
from ingest.relay.reasons import RelayReason
from ingest.relay.source import Source
from ingest.relay.verifier import Verifier
from ingest.repo.keys import PublicKey
from ingest.repo.messages import CommitMessage, SyncMessage
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import Previous, Verified
from schemas.entries import Sync
from schemas.errors import Refused


class Verification:
    """`lenient`: old messages without `prevData` are taken. `now` gives unix microseconds."""

    def __init__(self, verifier: Verifier, resolver: DidResolver, now: Callable[[], int], *, lenient: bool) -> None:
        self._verifier = verifier
        self._resolver = resolver
        self._now = now
        self._lenient = lenient
        self.seconds = 0.0
        """Spent waiting for verdicts."""
        self.count = 0

    async def signed(
        self, source: Source, message: CommitMessage | SyncMessage, document: DidDocument, previous: Previous | None
    ) -> Verified | Sync:
        """Raises Refused: NO_SIGNING_KEY, a RepoReason."""
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
            self.seconds += time.perf_counter() - began
            self.count += 1


def _key(document: DidDocument) -> PublicKey:
    if document.signing_key is None:
        raise Refused(RelayReason.NO_SIGNING_KEY, f"{document.did} has no #atproto key")
    return document.signing_key
