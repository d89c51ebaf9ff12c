"""com.atproto.sync.requestCrawl: a host, or somebody for it, asks a relay to read it.

Relays that pass a request on name themselves in `Via` (RFC 9110, section 7.6.3). Does not own which hosts are let in
(`ingest/relay`).
"""

from __future__ import annotations

from api.xrpc import Answer, Ctx, Endpoint
from ingest.relay.reasons import RelayReason
from schemas.errors import Refused, XrpcError

_VIA_MAX = 16


async def handle(ctx: Ctx) -> Answer:
    header = "" if ctx.request is None else ctx.request.headers.get("Via", "")
    via = tuple(name.strip() for name in header.split(",")[:_VIA_MAX] if name.strip())
    try:
        await ctx.services.relay.request_crawl(ctx.input["hostname"], via=via)
    except Refused as refused:
        if refused.reason == RelayReason.HOST_BANNED:
            raise XrpcError("HostBanned", refused.detail) from refused
        if refused.reason == RelayReason.NEW_HOSTS_QUOTA:
            raise XrpcError("RateLimitExceeded", refused.detail, 429) from refused
        raise
    return None


ENDPOINT = Endpoint("com.atproto.sync.requestCrawl", handle)
