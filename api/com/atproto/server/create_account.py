"""com.atproto.server.createAccount: a new account, or one that moves here with its DID."""

from __future__ import annotations

from api.com.atproto.server.shared import account, tokens
from api.errors import invalid_request
from api.xrpc import Answer, Auth, Ctx, Endpoint
from schemas.syntax import Did


async def handle(ctx: Ctx) -> Answer:
    body = ctx.input
    if "plcOp" in body:
        raise invalid_request('Unsupported input: "plcOp"')
    did = body.get("did")
    session = await ctx.services.pds.create_account(
        handle=body["handle"],
        email=body.get("email"),
        password=body.get("password"),
        did=None if did is None else Did(did),
        requester=ctx.viewer,
        recovery_key=body.get("recoveryKey"),
    )
    return {**account(session), **tokens(session)}


ENDPOINT = Endpoint("com.atproto.server.createAccount", handle, Auth.SERVICE_OPTIONAL)
