"""From a handle to the DID it claims: DNS TXT `_atproto.<handle>`, then HTTPS /.well-known/atproto-did.

Handles of this server's own domains are answered by its own accounts alone; reserved names are never looked up
(https://atproto.com/specs/handle). Does not own the way back, from the DID to the handle (resolver.py), nor caching.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ingest.identity.fetch import MAX_REDIRECTS, Answer
from ingest.identity.reasons import IdentityReason, IdentityRefused
from schemas.syntax import Did, Handle

HANDLE_INVALID = Handle("handle.invalid")
RESERVED_TLDS = frozenset(
    ("alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion", "test"),
)
MAX_WELL_KNOWN = 2_304  # a DID of 2,048 bytes and white space

LocalResolver = Callable[[Handle], Awaitable[Did | None]]


class TxtLookup(Protocol):
    async def lookup(self, name: str) -> tuple[str, ...]: ...


class Getter(Protocol):
    async def get(self, url: str, limit: int, accept: str = "*/*", redirects: int = MAX_REDIRECTS) -> Answer: ...


class HandleResolver:
    """`local_domains` are suffixes with their dot (`.test`); `local` tells which account holds a handle under them."""

    def __init__(
        self,
        dns: TxtLookup,
        fetcher: Getter,
        local: LocalResolver | None = None,
        local_domains: tuple[str, ...] = (),
    ) -> None:
        self._dns = dns
        self._fetcher = fetcher
        self._local = local
        self._domains = local_domains

    def is_local(self, handle: Handle) -> bool:
        return self._local is not None and handle.endswith(self._domains)

    async def resolve(self, handle: Handle) -> Did | None:
        """The DID that the handle points to, or None. Raises IdentityRefused when it cannot be told now."""
        if self._local is not None and self.is_local(handle):
            return await self._local(handle)
        if handle.rpartition(".")[2] in RESERVED_TLDS:
            return None
        silent: IdentityRefused | None = None
        try:
            found = _dids(await self._dns.lookup(f"_atproto.{handle}"))
        except IdentityRefused as refused:
            found, silent = [], refused
        if len(found) > 1:
            # Two answers are none; falling back to HTTPS would let whoever holds one of the two decide.
            return None
        if found:
            return _did(found[0])
        return await self._well_known(handle, silent)

    async def _well_known(self, handle: Handle, silent: IdentityRefused | None) -> Did | None:
        try:
            answer = await self._fetcher.get(f"https://{handle}/.well-known/atproto-did", MAX_WELL_KNOWN)
        except IdentityRefused as refused:
            if refused.transient and silent is not None:
                raise
            if refused.reason is IdentityReason.TIMEOUT:
                raise
            return None
        if answer.status == 200:
            return _did(answer.body.decode("utf-8", "replace").strip())
        if answer.status >= 500 or answer.status == 429 or silent is not None:
            raise IdentityRefused(IdentityReason.STATUS, f"HTTP {answer.status} from {handle}")
        return None


def _dids(records: tuple[str, ...]) -> list[str]:
    return [record[4:] for record in records if record.startswith("did=")]


def _did(text: str) -> Did | None:
    return Did.parse(text) if Did.is_valid(text) else None
