"""com.atproto.sync.getBlob: one blob, such that no browser takes it for a page of ours."""

from __future__ import annotations

from api.com.atproto.sync.shared import as_owner
from api.xrpc import Answer, Auth, Ctx, Endpoint, Raw
from schemas.cid import Cid
from schemas.syntax import Did

# Shown in place; everything else is offered as a file (https://atproto.com/specs/blob#security-considerations).
_HARMLESS = frozenset(
    (
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "image/avif",
        "video/mp4",
        "video/webm",
        "audio/mpeg",
        "audio/mp4",
        "audio/ogg",
    )
)


async def handle(ctx: Ctx) -> Answer:
    did, cid = Did(ctx.params["did"]), Cid.parse(ctx.params["cid"])
    blob = await ctx.services.pds.sync.open_blob(did, cid, as_owner=as_owner(ctx))
    return Raw(blob.mime, blob.chunks, blob_headers(blob.mime, blob.size, cid))


def blob_headers(mime: str, size: int, cid: Cid) -> dict[str, str]:
    headers = {
        "Content-Length": str(size),
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    if mime not in _HARMLESS:
        headers["Content-Disposition"] = f'attachment; filename="{cid}"'
    return headers


ENDPOINT = Endpoint("com.atproto.sync.getBlob", handle, Auth.ACCESS_OR_ADMIN_OPTIONAL)
