"""com.atproto.sync.getLatestCommit: where a repo stands."""

from __future__ import annotations

from api.com.atproto.sync.shared import as_owner
from api.xrpc import Answer, Auth, Ctx, Endpoint
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    status = await ctx.services.pds.sync.latest_commit(Did(ctx.params["did"]), as_owner=as_owner(ctx))
    return {"cid": str(status.commit), "rev": status.rev}


ENDPOINT = Endpoint("com.atproto.sync.getLatestCommit", handle, Auth.ACCESS_OR_ADMIN_OPTIONAL)
