"""com.atproto.repo.deleteRecord: the record goes; when it is not there nothing happens."""

from __future__ import annotations

from api.com.atproto.repo.shared import commit_of, points, swap_commit, swap_record
from api.xrpc import Answer, Auth, Ctx, Endpoint
from ingest.pds.writes import Write


async def handle(ctx: Ctx) -> Answer:
    body, pds = ctx.input, ctx.services.pds
    did = pds.own_repo(ctx.account, body["repo"])
    write = Write("delete", body["collection"], body["rkey"], None, swap_record(ctx), if_absent_ok=True)
    return commit_of(await pds.apply_writes(did, (write,), swap_commit=swap_commit(ctx)))


ENDPOINT = Endpoint("com.atproto.repo.deleteRecord", handle, Auth.ACCESS, lambda _: points("delete"))
