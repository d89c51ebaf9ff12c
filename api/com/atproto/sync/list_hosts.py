"""com.atproto.sync.listHosts: the hosts that a relay reads, in the order in which they came."""

from __future__ import annotations

from typing import Any

from api.com.atproto.sync.shared import number_of
from api.xrpc import Answer, Ctx, Endpoint
from ingest.relay.directory import HostView


async def handle(ctx: Ctx) -> Answer:
    limit = ctx.params["limit"]
    found = ctx.services.relay.hosts(number_of(ctx.params.get("cursor")), limit)
    answer: dict[str, Any] = {"hosts": [host_of(host) for _, host in found]}
    if len(found) == limit:
        answer["cursor"] = str(found[-1][0])
    return answer


def host_of(host: HostView) -> dict[str, Any]:
    """A host as the lexicon shows it."""
    shown: dict[str, Any] = {
        "hostname": host.hostname,
        "accountCount": host.account_count,
        "status": host.status,
    }
    if host.seq is not None:
        shown["seq"] = host.seq
    return shown


ENDPOINT = Endpoint("com.atproto.sync.listHosts", handle)
