"""com.atproto.repo.getRecord: one record as it is now."""

from __future__ import annotations

from api.com.atproto.repo.shared import record_json
from api.xrpc import Answer, Ctx, Endpoint
from schemas.cid import Cid


async def handle(ctx: Ctx) -> Answer:
    params = ctx.params
    cid = None if params.get("cid") is None else Cid.parse(params["cid"])
    view = await ctx.services.pds.get_record(params["repo"], params["collection"], params["rkey"], cid)
    return record_json(view)


ENDPOINT = Endpoint("com.atproto.repo.getRecord", handle)
