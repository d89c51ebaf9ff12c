"""app.bsky.graph.muteActor: leave an account, or its reposts or quotes alone, out of the caller's timeline."""

from __future__ import annotations

from api.appview import operating
from api.xrpc import Auth, Ctx, Endpoint
from schemas.operations import MUTE, ONLY_QUOTES, ONLY_REPOSTS


async def handle(ctx: Ctx) -> None:
    asked = ctx.input
    did = await operating.other_account(ctx, asked["actor"])
    scope = ONLY_REPOSTS * bool(asked.get("onlyReposts")) | ONLY_QUOTES * bool(asked.get("onlyQuoteposts"))
    await operating.put(ctx, MUTE, did, bytes((scope,)))


ENDPOINT = Endpoint("app.bsky.graph.muteActor", handle, Auth.ACCESS_OR_SERVICE)
