"""com.atproto.admin.getAccountInfo: one account of this PDS, whatever its state."""

from __future__ import annotations

from api.com.atproto.admin.shared import account_view
from api.xrpc import Answer, Auth, Ctx, Endpoint
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    return account_view(ctx.services.pds.operators.account(Did(ctx.params["did"])))


ENDPOINT = Endpoint("com.atproto.admin.getAccountInfo", handle, Auth.ADMIN)
