"""com.atproto.sync.listBlobs: the CIDs of an account's blobs."""

from __future__ import annotations

from typing import Any

from api.com.atproto.sync.shared import as_owner
from api.xrpc import Answer, Auth, Ctx, Endpoint
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    params = ctx.params
    cids, cursor = await ctx.services.pds.sync.list_blobs(
        Did(params["did"]),
        since=params.get("since"),
        cursor=params.get("cursor"),
        limit=params["limit"],
        as_owner=as_owner(ctx),
    )
    answer: dict[str, Any] = {"cids": [str(cid) for cid in cids]}
    if cursor is not None:
        answer["cursor"] = cursor
    return answer


ENDPOINT = Endpoint("com.atproto.sync.listBlobs", handle, Auth.ACCESS_OR_ADMIN_OPTIONAL)
