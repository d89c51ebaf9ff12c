"""Who is who: DIDs to documents, handles to DIDs, and handles that hold in both directions; bounded and cached.

A document is looked for in memory, then in the mirror of the did:plc directory where there is one, then among those
kept on disk, then at the directory or the did:web's host.
Does not own did:plc (plc_client.py), its mirror (plc_mirror.py), did:web's form (did_web.py), handle look-ups
(handles.py), nor the cache's rules (swr_cache.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any, Protocol

import orjson

from ingest.identity import did_doc, did_web
from ingest.identity.did_doc import DidDocument
from ingest.identity.handles import Getter, HandleResolver
from ingest.identity.plc_client import PlcClient
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.swr_cache import Bounds, SwrCache
from schemas.syntax import Did, Handle

_PLC = re.compile(r"did:plc:[a-z2-7]{24}", re.ASCII)


class DidResolver(Protocol):
    """What verifiers need of an identity resolver."""

    async def did_document(self, did: Did, *, refresh: bool = False) -> DidDocument:
        """With `refresh` the answer was fetched after the call.

        Raises IdentityRefused; of accounts that are kept from whoever asks (`ingest.relay.own_accounts`) Refused.
        """
        ...


class Kept(Protocol):
    """Documents that outlive the process (`kept_documents.KeptDocuments`)."""

    def get(self, did: str) -> tuple[Any, float] | None:
        """Parsed JSON, and its age in seconds."""
        ...

    def put(self, did: str, document: Any) -> None: ...

    def drop(self, did: str) -> None: ...


class Mirror(Protocol):
    """A did:plc directory's operations here (`plc_mirror.PlcMirror`)."""

    def document(self, did: Did) -> dict[str, Any] | None:
        """None: ask the directory. Raises IdentityRefused(TOMBSTONED)."""
        ...

    async def caught_up(self) -> bool:
        """Whether all that the directory had at the time of the call is here now; waits for it, bounded."""
        ...


class IdentityResolver:
    """The resolver of one process. `now` is in seconds and monotonic."""

    def __init__(
        self,
        plc: PlcClient,
        handles: HandleResolver,
        fetcher: Getter,
        *,
        allow_localhost: bool = False,
        dids: Bounds | None = None,
        names: Bounds | None = None,
        now: Callable[[], float] = monotonic,
        kept: Kept | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        self._plc = plc
        self._handles = handles
        self._fetcher = fetcher
        self._allow_localhost = allow_localhost
        bounds = dids or Bounds()
        # Each did:web is asked for at a host of its own, which may let us wait: not in the places of the directory's.
        webs = replace(bounds, entries=max(1, bounds.entries // 10))
        self._dids: SwrCache[DidDocument] = SwrCache(self._load_did, bounds, now)
        self._webs: SwrCache[DidDocument] = SwrCache(self._load_did, webs, now)
        self._names: SwrCache[Did] = SwrCache(self._load_handle, names or Bounds(), now)
        self._kept = kept
        self._mirror = mirror
        if kept is not None:
            self._dids.recall = self._webs.recall = self._recall

    async def did_document(self, did: Did, *, refresh: bool = False) -> DidDocument:
        """The document of a did:plc or did:web. Raises IdentityRefused."""
        if refresh and self._mirror is not None and did.method == "plc" and not await self._mirror.caught_up():
            # The mirror may lack what has just changed, and the directory be asked by many at once: see `PacedPlc`.
            document = await self._of_directory(did)
            self._dids.put(did, document)
            return document
        return await self._cache(did).get(did, refresh=refresh)

    async def handle(self, handle: Handle, *, refresh: bool = False) -> Did | None:
        """The DID that a handle points to, or None when it points to none. One way only: see verified_handle.

        Raises IdentityRefused (transient) when that cannot be told now.
        """
        if self._handles.is_local(handle):
            return await self._handles.resolve(handle)
        try:
            return await self._names.get(handle, refresh=refresh)
        except IdentityRefused as refused:
            if refused.transient:
                raise
            return None

    async def verified_handle(self, did: Did, *, refresh: bool = False) -> Handle | None:
        """The handle that `did` claims and that points back to it; None is shown as `handle.invalid`.

        Raises IdentityRefused when the DID does not resolve, or (transient) when the handle cannot be told now.
        """
        document = await self.did_document(did, refresh=refresh)
        if not document.handles:
            return None
        claimed = document.handles[0]
        return claimed if await self.handle(claimed, refresh=refresh) == did else None

    def forget(self, did: Did) -> None:
        """Drop what is known of a DID and of the handle it claimed: an #identity event came, or we changed it."""
        known = self._cache(did).peek(did)
        if known is not None:
            for handle in known.handles[:1]:
                self._names.forget(handle)
        self._cache(did).forget(did)
        if self._kept is not None:
            self._kept.drop(did)

    def lookups(self) -> dict[str, tuple[int, int, int]]:
        """(hits, misses, entries) of each cache."""
        caches: dict[str, tuple[SwrCache[Any], ...]] = {"did": (self._dids, self._webs), "handle": (self._names,)}
        return {
            name: (sum(each.hits for each in found), sum(each.misses for each in found), sum(map(len, found)))
            for name, found in caches.items()
        }

    async def close(self) -> None:
        for cache in (self._dids, self._webs, self._names):
            await cache.close()

    def _cache(self, did: Did) -> SwrCache[DidDocument]:
        return self._webs if did.method == "web" else self._dids

    async def _load_did(self, text: str) -> DidDocument:
        did = Did(text)
        try:
            match did.method:
                case "plc":
                    mirrored = self._mirrored(did)
                    # What the mirror has it keeps itself.
                    return did_doc.parse(did, mirrored) if mirrored is not None else await self._of_directory(did)
                case "web":
                    return self._keep(did, await self._load_web(did))
        except IdentityRefused as refused:
            if not refused.transient and self._kept is not None:
                self._kept.drop(did)
            raise
        raise IdentityRefused(IdentityReason.METHOD, f"expected did:plc or did:web, found {did[:80]}")

    async def _of_directory(self, did: Did) -> DidDocument:
        if not _PLC.fullmatch(did):
            raise IdentityRefused(IdentityReason.NOT_FOUND, f"no did:plc has this form: {did[:80]}")
        return self._keep(did, await self._plc.document(did))

    def _keep(self, did: Did, document: Any) -> DidDocument:
        parsed = did_doc.parse(did, document)
        if self._kept is not None:
            self._kept.put(did, document)
        return parsed

    def _recall(self, text: str) -> tuple[DidDocument, float] | None:
        did = Did(text)
        try:
            if self._mirrored(did) is not None:
                return None  # and newer than what was kept
        except IdentityRefused:
            return None
        found = None if self._kept is None else self._kept.get(did)
        return None if found is None else (did_doc.parse(did, found[0]), found[1])

    def _mirrored(self, did: Did) -> dict[str, Any] | None:
        """Raises IdentityRefused(TOMBSTONED)."""
        return None if self._mirror is None or not _PLC.fullmatch(did) else self._mirror.document(did)

    async def _load_web(self, did: Did) -> Any:
        url = did_web.document_url(did, allow_localhost=self._allow_localhost)
        # Whoever can make a host redirect would be all of its identity; the reference follows none either.
        answer = await self._fetcher.get(
            url, did_web.MAX_DOCUMENT, "application/did+ld+json, application/json", redirects=0
        )
        if answer.status in (404, 410):
            raise IdentityRefused(IdentityReason.NOT_FOUND, f"HTTP {answer.status} from {url}")
        if answer.status != 200:
            raise IdentityRefused(IdentityReason.STATUS, f"HTTP {answer.status} from {url}")
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise IdentityRefused(IdentityReason.DOCUMENT, f"not JSON: {url}") from error

    async def _load_handle(self, text: str) -> Did:
        did = await self._handles.resolve(Handle(text))
        if did is None:
            raise IdentityRefused(IdentityReason.NOT_FOUND, f"{text} points to no DID")
        return did
