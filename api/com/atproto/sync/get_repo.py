"""com.atproto.sync.getRepo: a repo as a CAR, streamed; with `since`, what is newer than that rev."""

from __future__ import annotations

from api.com.atproto.sync.shared import CAR, as_owner
from api.xrpc import Answer, Auth, Ctx, Endpoint, Raw
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    did, since = Did(ctx.params["did"]), ctx.params.get("since")
    return Raw(CAR, await ctx.services.pds.sync.repo_car(did, since, as_owner=as_owner(ctx)))


ENDPOINT = Endpoint("com.atproto.sync.getRepo", handle, Auth.ACCESS_OR_ADMIN_OPTIONAL)
