"""com.atproto.admin.updateAccountPassword: another password for an account; its sessions end."""

from __future__ import annotations

from api.xrpc import Answer, Auth, Ctx, Endpoint
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    await ctx.services.pds.operators.set_password(Did(ctx.input["did"]), ctx.input["password"])
    return None


ENDPOINT = Endpoint("com.atproto.admin.updateAccountPassword", handle, Auth.ADMIN)
