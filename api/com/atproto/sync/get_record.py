"""com.atproto.sync.getRecord: the proof that a record is in its repo, or that it is not, as a CAR."""

from __future__ import annotations

from api.com.atproto.sync.shared import CAR, as_owner
from api.xrpc import Answer, Auth, Ctx, Endpoint, Raw
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    params = ctx.params
    did = Did(params["did"])
    return Raw(
        CAR, await ctx.services.pds.sync.record_proof(did, params["collection"], params["rkey"], as_owner=as_owner(ctx))
    )


ENDPOINT = Endpoint("com.atproto.sync.getRecord", handle, Auth.ACCESS_OR_ADMIN_OPTIONAL)
