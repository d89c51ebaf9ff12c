"""Who lives with us: what others say of accounts of our own PDSes is refused, however it comes.

Their PDSes write them. An upstream relay passes on what we have said ourselves, and could say of them what it likes:
the state of an account is not signed. Does not own which hosts are ours, nor resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from ingest.identity.did_doc import DidDocument
from ingest.identity.resolver import DidResolver
from ingest.relay.reasons import RelayReason
from schemas.errors import Refused
from schemas.syntax import Did


class OthersOnly:
    """`ingest.identity.resolver.DidResolver`, which resolves nobody who lives at one of `ours()` (host or host:port).

    Raises Refused(HOSTED_HERE).
    """

    def __init__(self, resolver: DidResolver, ours: Callable[[], Collection[str]]) -> None:
        self._resolver = resolver
        self._ours = ours

    async def did_document(self, did: Did, *, refresh: bool = False) -> DidDocument:
        document = await self._resolver.did_document(did, refresh=refresh)
        if document.pds is not None and urlsplit(document.pds).netloc.lower() in self._ours():
            raise Refused(
                RelayReason.HOSTED_HERE, f"{did} lives at {document.pds}, a PDS of this cluster: it writes it"
            )
        return document
