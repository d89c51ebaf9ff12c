"""com.atproto.sync.getRepoStatus: whether a repo is active here, and where it stands."""

from __future__ import annotations

from typing import Any

from api.xrpc import Answer, Ctx, Endpoint
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    status = ctx.services.pds.sync.repo_status(Did(ctx.params["did"]))
    answer: dict[str, Any] = {"did": status.did, "active": status.active}
    if not status.active:
        answer["status"] = status.status
    elif status.rev is not None:
        answer["rev"] = status.rev
    return answer


ENDPOINT = Endpoint("com.atproto.sync.getRepoStatus", handle)
