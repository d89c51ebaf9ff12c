"""com.atproto.admin.deleteAccount: an account goes, with its records and blobs, by the operator's word alone."""

from __future__ import annotations

from api.xrpc import Answer, Auth, Ctx, Endpoint
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    await ctx.services.pds.operators.delete(Did(ctx.input["did"]))
    return None


ENDPOINT = Endpoint("com.atproto.admin.deleteAccount", handle, Auth.ADMIN)
