"""One account's repo, fetched whole from its host, checked, and put into the log as what differs from the log's copy.

Does not own connections (`ingest.relay.outgoing`), the diff (`ingest.relay.repo_diff`), nor when it is done and what
comes of the account meanwhile (`ingest.relay.resync`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from ingest.identity.resolver import DidResolver
from ingest.log import Reason, Rejected
from ingest.relay.reasons import RelayReason
from ingest.relay.repo_diff import RepoLog, append_diff, changes, read_repo, records_of
from ingest.repo.commit import SignedCommit
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import check_rev
from schemas.errors import Refused
from schemas.syntax import Did


class Fetch(Protocol):
    def pieces(self, url: str, did: Did) -> AsyncGenerator[bytes]:
        """The CAR of getRepo. Raises Refused (REPO_*)."""
        ...


class WholeRepos:
    """`now` gives unix microseconds, `most` is the bytes that a repo may have."""

    def __init__(self, log: RepoLog, resolver: DidResolver, fetch: Fetch, most: int, now: Callable[[], int]) -> None:
        self._log = log
        self._resolver = resolver
        self._fetch = fetch
        self._most = most
        self._now = now

    async def home(self, did: Did, known: str, *, refresh: bool) -> str:
        """The origin of the account's host; `known` where its document names none. Raises Refused."""
        document = await self._resolver.did_document(did, refresh=refresh)
        return document.pds or known

    async def bring(self, did: Did, url: str) -> None:
        """The log has the account as its host gave it, or as it was if that is the same. Raises Refused, Rejected."""
        log = self._log
        async with aclosing(self._fetch.pieces(url, did)) as pieces:
            signed, blocks = await read_repo(pieces, self._most)
        if signed.did != did:
            raise Refused(RepoReason.FIELD_MISMATCH, f"asked for the repo of {did}, given that of {signed.did}")
        check_rev(signed.rev, None, self._now())
        await self._check_signature(signed)
        # A tree of a hundred thousand records takes a second to walk.
        records = await asyncio.to_thread(records_of, signed, blocks)
        await log.settled(did)
        head = log.head(did)
        if head is not None and head.rev is not None and signed.rev < head.rev:
            raise Refused(RelayReason.REPO_BEHIND, f"{did}: fetched rev {signed.rev}, the log is at {head.rev}")
        if head is not None and head.commit == signed.cid and not head.partial:
            return
        ops = await changes(log, did, records, blocks)
        try:
            await append_diff(log, head, signed, ops)
        except Rejected as rejected:
            if rejected.reason is not Reason.DELETED:
                raise

    async def _check_signature(self, signed: SignedCommit) -> None:
        for refresh in (False, True):
            document = await self._resolver.did_document(signed.did, refresh=refresh)
            if document.signing_key is not None and signed.is_signed_by(document.signing_key):
                return
        raise Refused(RepoReason.SIGNATURE, f"the repo of {signed.did} is not signed by its #atproto key")
