"""com.atproto.repo.listMissingBlobs: what a migration has still to upload."""

from __future__ import annotations

from typing import Any

from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    params = ctx.params
    missing, cursor = await ctx.services.pds.list_missing_blobs(
        ctx.account, cursor=params.get("cursor"), limit=params["limit"]
    )
    answer: dict[str, Any] = {"blobs": [{"cid": str(blob.cid), "recordUri": blob.uri} for blob in missing]}
    if cursor is not None:
        answer["cursor"] = cursor
    return answer


ENDPOINT = Endpoint("com.atproto.repo.listMissingBlobs", handle, Auth.ACCESS)
