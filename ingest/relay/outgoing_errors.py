"""What goes wrong with connections to other people's hosts, as reasons: aiohttp's errors, redirects, relays.

Does not own the connections (`ingest.relay.outgoing`).
"""

from __future__ import annotations

from types import SimpleNamespace

import aiohttp

from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.ssrf import BlockedAddress
from ingest.relay.directory import RELAY_SERVER
from ingest.relay.reasons import RelayReason
from ingest.repo.reasons import RepoReason
from schemas.errors import Refused
from schemas.limits import FRAME_MAX


def trace(*, refuse_relays: bool) -> aiohttp.TraceConfig:
    """Raises out of a request that is redirected, and out of one that a relay answers."""

    async def redirected(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams
    ) -> None:
        raise Refused(RelayReason.HOST_REDIRECTS, f"{params.url.origin()} redirects; name the host itself")

    async def answered(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        if RELAY_SERVER in params.response.headers.get("Server", "").lower():
            raise Refused(RelayReason.HOST_IS_RELAY, f"{params.url.origin()} is a relay: read it with --relay")

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(redirected)
    if refuse_relays:
        trace.on_request_end.append(answered)
    return trace


def broken(error: object, url: str) -> Refused:
    if isinstance(error, aiohttp.WebSocketError) and error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        return Refused(RepoReason.FRAME_SIZE, f"{url}: a message of more than {FRAME_MAX} bytes")
    return Refused(RelayReason.HOST_CLOSED, f"{url}: {type(error).__name__}")


def refusal(error: BaseException, url: str) -> Refused:
    if isinstance(error, TimeoutError):
        return Refused(RelayReason.HOST_UNREACHABLE, f"{url}: no answer in time")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BlockedAddress):
            return IdentityRefused(IdentityReason.BLOCKED, f"{cause}: {url[:200]}")
        cause = getattr(cause, "os_error", None) or cause.__cause__
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return Refused(RelayReason.HOST_UNREACHABLE, f"{url}: HTTP {error.status} instead of a websocket")
    return Refused(RelayReason.HOST_UNREACHABLE, f"{url}: {type(error).__name__}")
