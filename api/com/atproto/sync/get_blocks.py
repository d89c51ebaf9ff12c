"""com.atproto.sync.getBlocks: blocks of one repo by CID."""

from __future__ import annotations

from api.com.atproto.sync.shared import CAR, as_owner
from api.xrpc import Answer, Auth, Ctx, Endpoint, Raw
from schemas.cid import Cid
from schemas.errors import XrpcError
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    cids = [Cid.parse(text) for text in ctx.params["cids"]]
    car, missing = await ctx.services.pds.sync.blocks(Did(ctx.params["did"]), cids, as_owner=as_owner(ctx))
    if missing:
        raise XrpcError("BlockNotFound", f"Could not find cids: {','.join(map(str, missing))}")
    return Raw(CAR, car)


ENDPOINT = Endpoint("com.atproto.sync.getBlocks", handle, Auth.ACCESS_OR_ADMIN_OPTIONAL)
