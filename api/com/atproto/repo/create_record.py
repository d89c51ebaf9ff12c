"""com.atproto.repo.createRecord: one new record."""

from __future__ import annotations

from api.com.atproto.repo.shared import commit_of, points, swap_commit, written
from api.xrpc import Answer, Auth, Ctx, Endpoint
from ingest.pds.writes import Write


async def handle(ctx: Ctx) -> Answer:
    """HOT."""
    body, pds = ctx.input, ctx.services.pds
    did = pds.own_repo(ctx.account, body["repo"])
    write = Write("create", body["collection"], body.get("rkey"), body["record"])
    applied = await pds.apply_writes(did, (write,), swap_commit=swap_commit(ctx), validate=body.get("validate"))
    return {**written(applied.results[0]), **commit_of(applied)}


ENDPOINT = Endpoint("com.atproto.repo.createRecord", handle, Auth.ACCESS, lambda _: points("create"))
