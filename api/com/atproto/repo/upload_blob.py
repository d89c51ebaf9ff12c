"""com.atproto.repo.uploadBlob: a blob, kept for an hour unless a record comes to refer to it."""

from __future__ import annotations

from api.errors import too_large
from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    body, pds = ctx.body, ctx.services.pds
    assert body is not None, "the lexicon demands a body"
    if body.length is not None and body.length > pds.settings.blob_limit:
        raise too_large()
    blob = await pds.upload_blob(ctx.account, body.chunks, body.content_type)
    return {"blob": {"$type": "blob", "ref": {"$link": str(blob.cid)}, "mimeType": blob.mime, "size": blob.size}}


ENDPOINT = Endpoint("com.atproto.repo.uploadBlob", handle, Auth.ACCESS_OR_SERVICE)
