"""com.atproto.sync.getHostStatus: one of the hosts that a relay reads."""

from __future__ import annotations

from api.com.atproto.sync.list_hosts import host_of
from api.xrpc import Answer, Ctx, Endpoint
from schemas.errors import XrpcError


async def handle(ctx: Ctx) -> Answer:
    hostname = ctx.params["hostname"]
    host = ctx.services.relay.host(hostname.lower())
    if host is None:
        raise XrpcError("HostNotFound", f"Host not found: {hostname[:256]}")
    return host_of(host)


ENDPOINT = Endpoint("com.atproto.sync.getHostStatus", handle)
