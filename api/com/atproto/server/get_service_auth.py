"""com.atproto.server.getServiceAuth: a token by which the account calls another service."""

from __future__ import annotations

from api.xrpc import Answer, Auth, Ctx, Endpoint


async def handle(ctx: Ctx) -> Answer:
    params = ctx.params
    token = ctx.services.pds.service_auth(ctx.account, params["aud"], params.get("lxm"), params.get("exp"))
    return {"token": token}


ENDPOINT = Endpoint("com.atproto.server.getServiceAuth", handle, Auth.ACCESS)
