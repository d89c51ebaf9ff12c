"""com.atproto.repo.applyWrites: up to 200 writes in one commit, or none of them."""

from __future__ import annotations

from typing import Any

from api.com.atproto.repo.shared import commit_of, points, swap_commit, written
from api.errors import invalid_request
from api.xrpc import Answer, Auth, Ctx, Endpoint
from ingest.pds.writer import Written
from ingest.pds.writes import Write
from schemas.limits import APPLY_WRITES_MAX

_NSID = "com.atproto.repo.applyWrites"
_ACTIONS = {f"{_NSID}#create": "create", f"{_NSID}#update": "update", f"{_NSID}#delete": "delete"}


async def handle(ctx: Ctx) -> Answer:
    body, pds = ctx.input, ctx.services.pds
    did = pds.own_repo(ctx.account, body["repo"])
    if len(body["writes"]) > APPLY_WRITES_MAX:
        raise invalid_request(f"Too many writes. Max: {APPLY_WRITES_MAX}")
    writes = [_write(item) for item in body["writes"]]
    applied = await pds.apply_writes(did, writes, swap_commit=swap_commit(ctx), validate=body.get("validate"))
    return {**commit_of(applied), "results": [_result(*pair) for pair in zip(writes, applied.results, strict=True)]}


def _write(item: dict[str, Any]) -> Write:
    match _ACTIONS.get(item.get("$type", "")):
        case "create":
            return Write("create", item["collection"], item.get("rkey"), item["value"])
        case "update":
            return Write("update", item["collection"], item["rkey"], item["value"])
        case "delete":
            return Write("delete", item["collection"], item["rkey"])
    raise invalid_request(f"Action not supported: {str(item.get('$type'))[:100]}")


def _result(write: Write, result: Written) -> dict[str, Any]:
    kind = {"$type": f"{_NSID}#{write.action}Result"}
    return kind if result.cid is None else {**kind, **written(result)}


def _points(ctx: Ctx) -> int:
    return sum(points(_ACTIONS.get(item.get("$type", ""), "delete")) for item in ctx.input["writes"])


ENDPOINT = Endpoint(_NSID, handle, Auth.ACCESS, _points)
