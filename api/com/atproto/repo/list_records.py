"""com.atproto.repo.listRecords: a collection, newest first; the cursor is the last record key shown."""

from __future__ import annotations

import orjson

from api.com.atproto.repo.shared import record_json
from api.errors import invalid_request
from api.xrpc import Answer, Ctx, Endpoint
from schemas.syntax import RecordKey


async def handle(ctx: Ctx) -> Answer:
    params = ctx.params
    cursor = params.get("cursor")
    if cursor is not None and not RecordKey.is_valid(cursor):
        raise invalid_request("Malformed cursor")
    views, last = await ctx.services.pds.list_records(
        params["repo"],
        params["collection"],
        limit=params["limit"],
        cursor=cursor,
        reverse=params.get("reverse", False),
    )
    records = b",".join(map(record_json, views))
    end = b"" if last is None else b',"cursor":%b' % orjson.dumps(last)
    return b'{"records":[%b]%b}' % (records, end)


ENDPOINT = Endpoint("com.atproto.repo.listRecords", handle)
