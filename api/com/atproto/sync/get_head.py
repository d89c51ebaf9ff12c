"""com.atproto.sync.getHead: deprecated; the CID of the newest commit."""

from __future__ import annotations

from api.com.atproto.sync.shared import as_owner
from api.xrpc import Answer, Auth, Ctx, Endpoint
from schemas.errors import XrpcError
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    did = Did(ctx.params["did"])
    try:
        status = await ctx.services.pds.sync.latest_commit(did, as_owner=as_owner(ctx))
    except XrpcError as error:
        if error.name == "RepoNotFound":
            raise XrpcError("HeadNotFound", f"Could not find root for DID: {did}") from error
        raise
    return {"root": str(status.commit)}


ENDPOINT = Endpoint("com.atproto.sync.getHead", handle, Auth.ACCESS_OR_ADMIN_OPTIONAL)
