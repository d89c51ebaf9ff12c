"""What an AppView answers of com.atproto: handles and records of any account, as its views have them.

A PDS of a cluster asks for what it does not host (`api/forward.py`). Does not own the methods' PDS side
(`api/com/atproto`).
"""

from __future__ import annotations

from api.appview.rules import is_active
from api.com.atproto.repo.shared import record_json
from api.errors import invalid_request
from api.xrpc import Answer, Ctx, Endpoint
from ingest.pds.reads import record_view
from ingest.pds.refusals import record_not_found
from schemas.cid import Cid
from schemas.syntax import AtUri
from views import actors, records, restrictions

_CID, _BYTES = records.TABLE.index("cid"), records.TABLE.index("bytes")


async def resolve_handle(ctx: Ctx) -> Answer:
    did = await ctx.services.appview.find(ctx.params["handle"])
    if did is None:
        raise invalid_request("Unable to resolve handle")
    return {"did": did}


async def get_record(ctx: Ctx) -> Answer:
    """A record of an account that shows, unless it is taken down."""
    params, reader = ctx.params, ctx.services.appview
    wanted = None if params.get("cid") is None else Cid.parse(params["cid"])
    did = await reader.find(params["repo"])
    uri = AtUri(f"at://{did or params['repo']}/{params['collection']}/{params['rkey']}")
    if did is None:
        raise record_not_found(uri)
    get_many = reader.store.get_many
    (row,) = await get_many(records.TABLE, ((did, params["collection"], params["rkey"]),))
    (account,) = await get_many(actors.TABLE, ((did,),))
    (taken,) = await get_many(restrictions.TABLE, (restrictions.key(restrictions.TAKEN, str(uri)),))
    if row is None or taken is not None or not is_active(account):
        raise record_not_found(uri)
    cid = Cid.parse(row[_CID])
    if wanted not in (None, cid):
        raise record_not_found(uri)
    return record_json(record_view(uri, cid, row[_BYTES]))


ENDPOINTS = (
    Endpoint("com.atproto.identity.resolveHandle", resolve_handle),
    Endpoint("com.atproto.repo.getRecord", get_record),
)
