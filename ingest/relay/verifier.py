"""Who runs the checklist: in this process, or in a pool of others (`ingest.relay.pool`).

Does not own the checklist (`ingest.repo.verify`).
"""

from __future__ import annotations

from typing import Protocol

from ingest.repo.keys import PublicKey
from ingest.repo.messages import CommitMessage, SyncMessage
from ingest.repo.verify import Previous, Verified, verify_commit, verify_sync
from schemas.entries import Sync


class Verifier(Protocol):
    async def verify(
        self,
        message: CommitMessage | SyncMessage,
        key: PublicKey,
        previous: Previous | None,
        now_micros: int,
        *,
        lenient: bool = False,
    ) -> Verified | Sync:
        """As `verify_commit` and `verify_sync`. Raises Refused with a RepoReason.

        An account's next message is given only once its last one is answered; several accounts' at the same time.
        """
        ...


class InlineVerifier:
    """On the loop: a message at a time."""

    async def verify(
        self,
        message: CommitMessage | SyncMessage,
        key: PublicKey,
        previous: Previous | None,
        now_micros: int,
        *,
        lenient: bool = False,
    ) -> Verified | Sync:
        if isinstance(message, SyncMessage):
            return verify_sync(message, key, previous, now_micros)
        return verify_commit(message, key, previous, now_micros, lenient=lenient)
