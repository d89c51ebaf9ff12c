"""com.atproto.repo.putRecord: a record of a given key, new or in place of the one there."""

from __future__ import annotations

from api.com.atproto.repo.shared import commit_of, points, swap_commit, swap_record, written
from api.xrpc import Answer, Auth, Ctx, Endpoint
from ingest.pds.writes import Write


async def handle(ctx: Ctx) -> Answer:
    body, pds = ctx.input, ctx.services.pds
    did = pds.own_repo(ctx.account, body["repo"])
    write = Write("put", body["collection"], body["rkey"], body["record"], swap_record(ctx))
    applied = await pds.apply_writes(did, (write,), swap_commit=swap_commit(ctx), validate=body.get("validate"))
    return {**written(applied.results[0]), **commit_of(applied)}


ENDPOINT = Endpoint("com.atproto.repo.putRecord", handle, Auth.ACCESS, lambda _: points("update"))
