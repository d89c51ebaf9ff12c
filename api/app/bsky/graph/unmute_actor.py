"""app.bsky.graph.unmuteActor: no longer mute an account, in whichever part it was."""

from __future__ import annotations

from api.appview import operating
from api.xrpc import Auth, Ctx, Endpoint
from schemas.operations import MUTE


async def handle(ctx: Ctx) -> None:
    await operating.put(ctx, MUTE, await operating.other_account(ctx, ctx.input["actor"]), None)


ENDPOINT = Endpoint("app.bsky.graph.unmuteActor", handle, Auth.ACCESS_OR_SERVICE)
